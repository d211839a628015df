"""Walks over DuckDB's syntax trees (`json_serialize_sql`): nested dicts and lists, an expression where `class` is.

Pure; microseconds a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Node = dict[str, Any]

NULL_TESTS = ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL")


class Use(NamedTuple):
    """One place where an expression reads a column.

    path: the dotted name as written. json_path: what is read from it, of `metadata->>'$.x'`.
    function: the function of one argument (in small letters) that is asked of it, or the type of a test for NULL;
    else empty.
    """

    path: tuple[str, ...]
    json_path: str | None = None
    function: str = ""


def nodes(tree: Any) -> Iterator[Node]:
    """Every expression of a tree, outer ones first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def uses(tree: Any, bound: frozenset[str] = frozenset()) -> Iterator[Use]:
    """The columns that a tree reads; not the parameters of lambdas.

    Args:
        tree: an expression, or part of one.
        bound: names that are parameters here, in small letters.
    """
    if isinstance(tree, list):
        for value in tree:
            yield from uses(value, bound)
    if not isinstance(tree, dict):
        return
    if (path := path_of(tree, bound)) is not None:
        yield Use(path)
        return
    if tree.get("class") == "LAMBDA":
        if is_arrow(tree):
            path, text = path_of(tree["lhs"], bound), _constant_text(tree["expr"])
            names = uses([tree["lhs"], tree["expr"]], bound)
            yield from [Use(path, json_path=text)] if path is not None and text is not None else names
        else:
            yield from uses(tree["expr"], bound | lambda_parameters(tree))
        return
    if (own := asked_of(tree, bound)) is not None:
        yield Use(own[1], function=own[0])
        return
    if tree.get("class") == "FUNCTION" and tree["function_name"] in ("->", "->>"):
        left, right = (argument["expression"] for argument in tree["arguments"])
        path, text = path_of(left, bound), _constant_text(right)
        if path is not None and text is not None:
            yield Use(path, json_path=text)
            return
    for value in tree.values():
        yield from uses(value, bound)


def path_of(node: Node, bound: frozenset[str]) -> tuple[str, ...] | None:
    """The dotted name that an expression is: `a.b`, `a['b']` or `(a).b`; None for anything else."""
    if node.get("class") == "COLUMN_REF":
        names = tuple(str(name) for name in node["column_names"])
        return None if names[0].lower() in bound else names
    if node.get("class") == "OPERATOR" and node["type"] in ("ARRAY_EXTRACT", "STRUCT_EXTRACT"):
        left, right = node["children"]
        text = _constant_text(right)
        if left["class"] == "COLUMN_REF" and text is not None and (path := path_of(left, bound)) is not None:
            return (*path, text)
    return None


def asked_of(node: Node, bound: frozenset[str]) -> tuple[str, tuple[str, ...]] | None:
    """Of a function of one argument, or a test for NULL, whose argument is a column: what it is called, and the name.

    `octet_length(encode(x))` is one function here: the bytes of a string.
    """
    if node.get("class") == "OPERATOR" and node["type"] in NULL_TESTS:
        path = path_of(node["children"][0], bound)
        return None if path is None else (str(node["type"]), path)
    if node.get("class") != "FUNCTION" or len(node["arguments"]) != 1 or node["is_operator"]:
        return None
    name, argument = str(node["function_name"]).lower(), node["arguments"][0]["expression"]
    path = path_of(argument, bound)
    if path is not None:
        return name, path
    inner = asked_of(argument, bound)
    if name == "octet_length" and inner is not None and inner[0] == "encode":
        return "octet_length(encode)", inner[1]
    return None


def replaced(tree: Any, replace: Callable[[Node, frozenset[str]], Node | None], bound: frozenset[str]) -> Any:
    """A copy of a tree in which every expression for which `replace` gives another one is that one."""
    if isinstance(tree, list):
        return [replaced(value, replace, bound) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "class" in tree and (other := replace(tree, bound)) is not None:
        return other
    inside = bound | lambda_parameters(tree) if tree.get("class") == "LAMBDA" and not is_arrow(tree) else bound
    return {key: replaced(value, replace, inside) for key, value in tree.items()}


def column(name: str) -> Node:
    """The tree of a column's name."""
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": [name]}


def without(tree: Any, keys: tuple[str, ...]) -> Any:
    """A copy of a tree without these keys."""
    if isinstance(tree, dict):
        return {key: without(value, keys) for key, value in tree.items() if key not in keys}
    return [without(value, keys) for value in tree] if isinstance(tree, list) else tree


def is_arrow(node: Node) -> bool:
    """Of a LAMBDA: whether it is `metadata->'key'`, which DuckDB's parser cannot tell from the lambda `x -> ...`.

    To DuckDB 2.0 the arrow is JSON's, since it takes lambdas as `lambda x: ...` only.
    """
    return bool(node["syntax_type"] == "SINGLE_ARROW")


def lambda_parameters(node: Node) -> frozenset[str]:
    """The names that a lambda binds, in small letters."""
    return frozenset(inner["column_names"][0].lower() for inner in nodes(node["lhs"]) if inner["class"] == "COLUMN_REF")


def _constant_text(node: Node) -> str | None:
    literal = node.get("literal", {}) if node.get("class") == "CONSTANT" else {}
    return str(literal["text"]) if literal.get("kind") == "STRING" else None
