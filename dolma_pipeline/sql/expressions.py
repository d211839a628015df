"""What may stand in a rule or an order, checked on DuckDB's own syntax tree before any work starts.

An expression over the columns of one row: no FROM, subquery, aggregate, window, `*` or parameter, and only
functions that DuckDB calls CONSISTENT (so no `random()` and no `now()`, not even inside a macro). A rule thus says
the same of a document on any computer, on any day, whatever its neighbours are.
Nothing is cut out of the SQL text by hand: splitting and checking use the tree (`json_serialize_sql`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError, nearest, unknown_name
from dolma_pipeline.sql.engine import Engine, engine

Node = dict[str, Any]

CLASSES = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "OPERATOR", "TYPE",
}  # fmt: skip
"""Kinds of expressions that may stand in a rule."""

REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "'*' or COLUMNS()",
    "PARAMETER": "a parameter ('?' or '$')",
    "DEFAULT": "DEFAULT",
    "POSITIONAL_REFERENCE": "'#' and a number",
}

PLACES = ("query_location", "query_location_length")
PREFIX = "SELECT 1 FROM d WHERE "
LONGEST_VALUE_CHARS = 100
COMPARISONS = "=, <>, <, <=, >, >=, BETWEEN, IN, LIKE, IS NULL"
ARITHMETIC = {"+", "-", "*", "/", "//", "%"}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Args:
        text: its SQL.
        references: the columns that it reads, as (column, field of it or None), sorted, in the schema's spelling.
        values: what it looked at, for people: label -> SQL of a short value (a text's or list's length).
    """

    text: str
    references: tuple[tuple[str, str | None], ...]
    values: Mapping[str, str]


def parse(place: str, text: str) -> Node:
    """The tree of one expression; `place` starts the messages.

    Raises:
        ConfigError: not SQL, or more than an expression.
    """
    node = statement(place, PREFIX + text, text)
    extra = sorted(key for key, value in node.items() if key != "where_clause" and value != _plain()[key])
    if extra:
        raise ConfigError(
            f"{place}: `{text}` is more than an expression ({', '.join(extra)}); a rule is one expression"
        )
    return dict(node["where_clause"])


def statement(place: str, query: str, text: str) -> Node:
    """The tree of a SELECT made of the user's `text`, without places in the text.

    Raises:
        ConfigError: not SQL, or not one SELECT.
    """
    if not text.strip():
        raise ConfigError(f"{place}: empty; write an SQL expression, e.g. `length(text) > 100`")
    found = engine().tree(query)
    if found.get("error_type") == "not implemented":  # DuckDB serializes SELECT alone
        raise ConfigError(f"{place}: `{text}` is more than an expression; a rule is one expression")
    if found.get("error"):
        hint = ' (as a name, `end` is written "end")' if '"end"' in found["error_message"] else ""
        raise ConfigError(f"{place}: `{text}` is not SQL: {found['error_message']}{hint}")
    nodes = [one["node"] for one in found["statements"]]
    if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE":
        raise ConfigError(f"{place}: `{text}` is more than an expression; a rule is one expression")
    return dict(_without(nodes[0], PLACES))


def written(place: str, node: Node) -> str:
    """SQL of an expression's tree, such that it reads back as the same tree.

    Raises:
        ConfigError: DuckDB's own text of it means something else; nothing is evaluated then.
    """
    tree = engine().tree(PREFIX + "true")
    tree["statements"][0]["node"]["where_clause"] = node
    text = engine().text(tree).removeprefix(PREFIX)
    if _without(parse(place, text), ("alias",)) != _without(node, ("alias",)):  # it names what had no name
        raise ConfigError(
            f"{place}: cannot be taken apart (`{text}` reads otherwise); write it as `rule: SQL`, one each"
        )
    return text


def column_names(text: str) -> frozenset[str]:
    """Names of the columns that an expression reads, as written: `{"gopher_v1"}` of `gopher_v1.word_count > 50`.

    Needs no schema, so it also serves for columns that do not exist yet.

    Raises:
        ConfigError: not an expression.
    """
    return frozenset(path[0] for path, _ in _paths(parse("where", text), frozenset()))


def check(place: str, text: str, node: Node, schema: pa.Schema) -> Expression:
    """The expression, with the columns that it reads.

    Args:
        place: what the messages start with: `where.words`.
        text: its SQL.
        node: its tree.
        schema: the columns that there are.

    Raises:
        ConfigError: something that may not stand here, or an unknown column, field or function; says what is near.
    """
    _refuse(place, node, engine())
    references: set[tuple[str, str | None]] = set()
    values: dict[str, str] = {}
    for path, json_path in _paths(node, frozenset()):
        column, field, type_ = _resolved(place, path, schema)
        references.add((column, field))
        label, value = _value(column, field, type_, json_path)
        values[label] = value
    order = sorted(references, key=lambda one: (one[0], one[1] or ""))
    return Expression(text, tuple(order), dict(sorted(values.items())))


def quoted(name: str) -> str:
    """An SQL name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _refuse(place: str, node: Node, duck: Engine) -> None:
    for one in _nodes(node):
        kind = one["class"]
        if kind not in CLASSES or one.get("type") == "GROUPING_FUNCTION":
            what = REFUSED.get(kind, f"{one.get('type', kind)}")
            raise ConfigError(f"{place}: {what} cannot stand in a rule, which sees one row's columns and nothing else")
        if kind == "FUNCTION":
            _refuse_function(place, one, duck)


def _refuse_function(place: str, node: Node, duck: Engine, *, inside: str = "") -> None:
    name = str(node["function_name"]).lower()
    path = node.get("qualified_name", {}).get("path", [name])
    if len(path) > 1 and path[-1].lower() in duck.functions:
        *before, last = path
        raise ConfigError(f"{place}: write {last}({'.'.join(before)}, ...), not {'.'.join(path)}(...)")
    known = duck.functions.get(name)
    if known is None:
        raise ConfigError(f"{place}: {_unknown_function(name, node, duck)}")
    shown = f"{inside or name}()"
    if "aggregate" in known.kinds or "window" in known.kinds:
        what = f"{shown} works on many rows; a rule sees one. Of a list: list_{name}(...)"
        raise ConfigError(f"{place}: {what}")
    if not known.kinds & {"scalar", "macro"}:
        raise ConfigError(f"{place}: {shown} makes a table; a rule sees one row's columns and nothing else")
    if known.stabilities - {"CONSISTENT"}:
        raise ConfigError(
            f"{place}: {shown} does not always give the same for the same document; a rule must, so that a run can "
            "be repeated"
        )
    for macro in known.macros:
        tree = duck.tree(f"SELECT {macro}")
        for one in _nodes(tree.get("statements", [])):
            if one["class"] == "SUBQUERY":
                raise ConfigError(f"{place}: {shown} looks into tables; a rule sees one row's columns and nothing else")
            path = one.get("qualified_name", {}).get("path", [])
            if one["class"] == "FUNCTION":
                plain = {**one, "qualified_name": {"path": path[-1:]}}
                _refuse_function(place, plain, duck, inside=inside or name)
            elif one["class"] == "COLUMN_REF" and one["column_names"][-1].startswith("current_"):
                raise ConfigError(f"{place}: {shown} depends on the day or the session; a rule must not")


def _unknown_function(name: str, node: Node, duck: Engine) -> str:
    if node.get("is_operator"):
        return f"unknown operator '{name}'. To compare, there are: {COMPARISONS}."
    kinds = {"scalar", "macro"}
    names = [one for one, found in duck.functions.items() if found.kinds & kinds and one.replace("_", "").isalnum()]
    if nearest(name, names):
        return unknown_name("SQL function", name, names)
    return f"no SQL function named '{name}', and none has a name like it. DuckDB's functions can be used."


def advice(node: Node, schema: pa.Schema) -> str:
    """What to write instead, where an expression compares a whole list or attribute; empty where it does not.

    Args:
        node: the tree of an expression that `check` has let pass.
        schema: the columns that there are.
    """
    paths = [path for path, _ in _paths(node, frozenset())]  # no parameters of lambdas
    for one in _nodes(node):
        if one["class"] not in ("COMPARISON", "BETWEEN"):
            continue
        for operand in one.values():
            if not isinstance(operand, dict) or operand.get("column_names") not in paths:
                continue
            column, field, type_ = _resolved("", list(operand["column_names"]), schema)
            name = column if field is None else f"{column}.{field}"
            if type_ == SPANS_TYPE:
                return f"{name} is a list of spans: use len({name})"
            if pa.types.is_list(type_):
                return f"{name} is a list: use len({name})"
            if pa.types.is_struct(type_) and type_.num_fields:
                return f"{name} has fields: use one, such as {name}.{type_.field(0).name}"
    return ""


def compared_texts(tree: Any) -> set[str]:
    """Constant strings that are operands of a comparison, an arithmetic operator or a CAST themselves."""
    found: set[str] = set()
    for one in _nodes(tree):
        kind = one["class"]
        plain = kind in ("COMPARISON", "BETWEEN", "CAST") or one.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN")
        if not plain and not (kind == "FUNCTION" and one["function_name"] in ARITHMETIC):
            continue
        for value in one.values():
            for operand in value if isinstance(value, list) else [value]:
                inner = operand.get("expression", operand) if isinstance(operand, dict) else {}
                literal = inner.get("literal", {}) if isinstance(inner, dict) else {}
                if literal.get("kind") == "STRING":
                    found.add(str(literal["text"]))
    return found


def _resolved(place: str, path: list[str], schema: pa.Schema) -> tuple[str, str | None, pa.DataType]:
    """Column, field and type of a dotted name; like DuckDB, whatever its case."""
    columns = {one.name.lower(): one for one in schema}
    column = columns.get(path[0].lower())
    if column is None:
        known = [one.name for one in schema]
        raise ConfigError(f"{place}: {unknown_name('attribute or column', path[0], known)}")
    if len(path) == 1:
        return column.name, None, column.type
    if not pa.types.is_struct(column.type):
        raise ConfigError(f"{place}: `{'.'.join(path)}`: column '{column.name}' is {column.type} and has no fields")
    fields = {one.name.lower(): one for one in column.type}
    field = fields.get(path[1].lower())
    if field is None:
        known = [one.name for one in column.type]
        raise ConfigError(f"{place}: {unknown_name(f'field of {column.name!r}', path[1], known)}")
    return column.name, field.name, field.type


def _value(column: str, field: str | None, type_: pa.DataType, json_path: str | None) -> tuple[str, str]:
    """Label and SQL of what a rule saw: short, and never a text."""
    label = column if field is None else f"{column}.{field}"
    name = quoted(column) if field is None else f"{quoted(column)}.{quoted(field)}"
    if json_path is not None:
        path = "'" + json_path.replace("'", "''") + "'"
        return f"{label}->>{path}", f"left(TRY({name}->>{path}), {LONGEST_VALUE_CHARS})"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return label, f"len({name})"
    if pa.types.is_struct(type_):
        return label, f"{name} IS NOT NULL"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        long = field is None and column in ("text", "metadata", "extra")
        return label, f"length({name})" if long else f"left({name}, {LONGEST_VALUE_CHARS})"
    return label, name


def _nodes(tree: Any) -> Iterator[Node]:
    """Every expression of a tree, outer ones first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _paths(tree: Any, bound: frozenset[str]) -> Iterator[tuple[list[str], str | None]]:
    """Dotted names of columns, with the JSON path that is read from them; not the parameters of lambdas."""
    if isinstance(tree, list):
        for value in tree:
            yield from _paths(value, bound)
    if not isinstance(tree, dict):
        return
    kind = tree.get("class")
    if kind == "COLUMN_REF":
        if tree["column_names"][0].lower() not in bound:
            yield list(tree["column_names"]), None
        return
    if kind == "LAMBDA":
        own = {path[0].lower() for path, _ in _paths(tree["lhs"], frozenset())}
        yield from _paths(tree["expr"], bound | own)
        return
    if kind == "FUNCTION" and tree["function_name"] in ("->", "->>"):
        left, right = (one["expression"] for one in tree["arguments"])
        if left["class"] == "COLUMN_REF" and right["class"] == "CONSTANT" and right["literal"]["kind"] == "STRING":
            for path, _ in _paths(left, bound):
                yield path, str(right["literal"]["text"])
            return
    if kind == "OPERATOR" and tree["type"] == "ARRAY_EXTRACT":  # gopher_v1['word_count']
        left, right = tree["children"]
        if left["class"] == "COLUMN_REF" and right["class"] == "CONSTANT" and right["literal"]["kind"] == "STRING":
            for path, _ in _paths(left, bound):
                yield [*path, str(right["literal"]["text"])], None
            return
    for value in tree.values():
        yield from _paths(value, bound)


@functools.cache
def _plain() -> Node:
    """The tree of a SELECT that has nothing but its WHERE."""
    return dict(_without(engine().tree(PREFIX + "true")["statements"][0]["node"], PLACES))


def _without(tree: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(tree, dict):
        return {key: _without(value, keys) for key, value in tree.items() if key not in keys}
    return [_without(value, keys) for value in tree] if isinstance(tree, list) else tree
