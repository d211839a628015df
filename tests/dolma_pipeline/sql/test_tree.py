from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.sql.expressions import parse
from dolma_pipeline.sql.tree import Use, column, nodes, replaced, uses, without


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b > 1", [Use(("a", "b"))]),
        ("a['b'] > 1 AND (a).c > 1", [Use(("a", "b")), Use(("a", "c"))]),
        ("Length(t) > 1", [Use(("t",), function="length")]),
        ("octet_length(encode(t)) > 1", [Use(("t",), function="octet_length(encode)")]),
        ("octet_length(t) > 1", [Use(("t",), function="octet_length")]),
        ("left(t, 3) = 'a'", [Use(("t",))]),
        ("-n > 1", [Use(("n",))]),
        ("a IS NULL", [Use(("a",), function="OPERATOR_IS_NULL")]),
        ("b IS NOT NULL", [Use(("b",), function="OPERATOR_IS_NOT_NULL")]),
        ("(m->>'$.x') = 'y'", [Use(("m",), json_path="$.x")]),
        ("(m->'a')::VARCHAR = 'y'", [Use(("m",), json_path="a")]),
        ("(m->'a'->>'b') = 'y'", [Use(("m",))]),
        ("(m->k)::VARCHAR = 'y'", [Use(("m",)), Use(("k",))]),
        ("(m->>k) = 'y'", [Use(("m",)), Use(("k",))]),
        ("len(list_filter(l, lambda x, i: len(x) > i AND len(y) > 1)) > 0", [Use(("l",)), Use(("y",), function="len")]),
        ("l[1].score > 1", [Use(("l",))]),
        ("1 = 1", []),
    ],
)
def test_what_is_read_and_how(text: str, found: list[Use]) -> None:
    assert list(uses(parse("where", text))) == found


def test_only_what_is_not_bound_is_replaced() -> None:
    tree = parse("where", "len(list_filter(l, lambda l: l.a > k)) > 0 AND l = k")
    seen: list[tuple[str, bool]] = []

    def instead(node: dict[str, Any], bound: frozenset[str]) -> dict[str, Any] | None:
        if node["class"] == "COLUMN_REF":
            seen.append((node["column_names"][0], node["column_names"][0] in bound))
            return column("z") if node["column_names"] == ["k"] else None
        return None

    found = replaced(tree, instead, frozenset())
    assert seen.count(("l", True)) == 2  # the parameter, and where it is used
    assert seen.count(("l", False)) == 2
    assert found == parse("where", "len(list_filter(l, lambda l: l.a > z)) > 0 AND l = z")
    assert tree == parse("where", "len(list_filter(l, lambda l: l.a > k)) > 0 AND l = k")


def test_nodes_come_outer_ones_first() -> None:
    kinds = [one["class"] for one in nodes(parse("where", "abs(a) > 1"))]
    assert kinds == ["COMPARISON", "FUNCTION", "COLUMN_REF", "CONSTANT"]
    assert without({"a": [{"b": 1, "c": 2}], "b": 3}, ("b",)) == {"a": [{"c": 2}]}
