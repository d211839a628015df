"""Comparisons with values of metadata of every type, as the rules of a run evaluate them.

What jq says follows from its manual (under `sort`: null, false, true, numbers, strings, arrays, objects). What Dolma's
JSONPath says was seen of the mixer of dolma 1.2.1, over this table: numbers alone are ordered.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline.migrate.jq import jq_sql
from dolma_pipeline.migrate.jsonpath import jsonpath_sql
from dolma_pipeline.migrate.sql import Untranslatable
from dolma_pipeline.sql import Rules

SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
VALUES = [
    "null", "false", "true", "-1", "0", "3", "3.0", "2.5", "5", "0.1", "1e400", "-18446744073709551617", '"3"', '""',
    '"5"', '"abc"', '"true"', '"null"', '"\\u00e9\'"', '"nan"', "[]", "[3]", "{}", '{"x": 3}',
]  # fmt: skip
"""Of key `x`, as JSON."""
LITERALS = ["3", "-1", "0.1", "2.5", "1e300", '"3"', '"abc"', '"true"', '""', '"\u00e9\'"', "true", "false", "null"]
METADATA = ["{}", '{"y": 3}', *(f'{{"x": {value}, "y": 4}}' for value in VALUES)]
FOUND: list[Any] = [None, None, *map(json.loads, VALUES)]
THERE = [False, False, *(True for _ in VALUES)]


def rank(value: Any) -> tuple[int, Any]:
    """A key by which values sort as in jq; lists and objects meet none of their own type here."""
    if value is None or isinstance(value, bool):
        return ({None: 0, False: 1, True: 2}[value], 0)
    return (3, value) if isinstance(value, int | float) else (4, value) if isinstance(value, str) else (5, 0)


def in_dolmas_jsonpath(value: Any, sign: str, literal: Any) -> bool:
    if rank(value)[0] != rank(literal)[0]:
        return False
    return SIGNS[sign](value, literal)


def evaluated(rules: dict[str, str]) -> dict[str, list[bool]]:
    """What rules say of `METADATA`; none may be NULL."""
    table = pa.table({"metadata": METADATA})
    verdict = Rules(rules, table.schema).evaluate(table)
    assert not verdict.null.any()
    return dict(zip(rules, verdict.passed.tolist(), strict=True))


def asked(translate: Callable[[str], str], pattern: str) -> tuple[dict[str, str], set[str]]:
    """SQL of each sign and literal, and those that are refused."""
    rules, refused = {}, set()
    for sign in SIGNS:
        for literal in LITERALS:
            try:
                rules[f"{sign} {literal}"] = translate(pattern.format(sign, literal))
            except Untranslatable:
                refused.add(f"{sign} {literal}")
    return rules, refused


def test_jq_orders_values_of_all_types() -> None:
    rules, refused = asked(jq_sql, ".metadata.x {} {}")
    assert refused == {f"{sign} {literal}" for sign in ("<", "<=", ">", ">=") for literal in ("true", "false", "null")}
    for name, passed in evaluated(rules).items():
        sign, _, literal = name.partition(" ")
        expected = [SIGNS[sign](rank(value), rank(json.loads(literal))) for value in FOUND]
        assert dict(zip(METADATA, passed, strict=True)) == dict(zip(METADATA, expected, strict=True)), name


def test_jq_says_the_contrary_behind_not() -> None:
    rules, _ = asked(jq_sql, "(.metadata.x {} {}) | not")
    plain = evaluated(asked(jq_sql, ".metadata.x {} {}")[0])
    assert evaluated(rules) == {name: [not one for one in passed] for name, passed in plain.items()}


def test_jsonpath_compares_values_of_one_type() -> None:
    rules, refused = asked(jsonpath_sql, "$.metadata[?(@.x {} {})]")
    ordered = {f"{sign} {literal}" for sign in ("==", "<", "<=", ">", ">=") for literal in LITERALS[:5]}
    assert set(rules) == ordered | {f"== {literal}" for literal in LITERALS[5:]}
    assert refused == {f"{sign} {literal}" for sign in SIGNS for literal in LITERALS} - set(rules)
    for name, passed in evaluated(rules).items():
        sign, _, literal = name.partition(" ")
        expected = [
            there and in_dolmas_jsonpath(value, sign, json.loads(literal))
            for there, value in zip(THERE, FOUND, strict=True)
        ]
        assert dict(zip(METADATA, passed, strict=True)) == dict(zip(METADATA, expected, strict=True)), name


@pytest.mark.parametrize("expression", ["$.metadata.x", "$.metadata[?(@.x)]"])
def test_null_is_there_in_jsonpath(expression: str) -> None:
    assert evaluated({"x": jsonpath_sql(expression)}) == {"x": THERE}
