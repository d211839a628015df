"""What may stand in a rule or an order, checked on DuckDB's own syntax tree before any work starts.

An expression over the columns of one row: no FROM, subquery, aggregate, window, `*` or parameter, and only
functions that DuckDB calls CONSISTENT (so no `random()` and no `now()`, not even inside a macro). A rule thus says
the same of a document on any computer, on any day, whatever its neighbours are.
Nothing is cut out of the SQL text by hand: splitting and checking use the tree (`json_serialize_sql`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError, nearest, unknown_name
from dolma_pipeline.sql.engine import ARROW_ADVICE, Engine, engine
from dolma_pipeline.sql.tree import NULL_TESTS, Node, Use, is_arrow, nodes, uses, without

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
TAKE_LAMBDAS = {
    *(f"{of}_{name}" for of in ("list", "array") for name in ("filter", "transform", "apply", "reduce")),
    "filter", "apply", "reduce",
}  # fmt: skip
"""Functions of a list and a lambda: `x -> ...` in them is the lambda of older DuckDB."""

ARITHMETIC = {"+", "-", "*", "/", "//", "%"}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Args:
        text: its SQL.
        references: the columns that it reads, as (column, field of it or None), sorted, in the schema's spelling.
        values: what it looked at, for people: label -> SQL of a short value (a text's or list's length).
        lists: lists (attribute, field) of which it needs the items, not only their number or `score()`.
    """

    text: str
    references: tuple[tuple[str, str | None], ...]
    values: Mapping[str, str]
    lists: frozenset[tuple[str, str]]


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
    tree = _tree(query)
    if tree.get("error_type") == "not implemented":  # DuckDB serializes SELECT alone
        raise ConfigError(f"{place}: `{text}` is more than an expression; a rule is one expression")
    if tree.get("error"):
        hint = ' (as a name, `end` is written "end")' if '"end"' in tree["error_message"] else ""
        raise ConfigError(f"{place}: `{text}` is not SQL: {tree['error_message']}{hint}")
    selects = [select["node"] for select in tree["statements"]]
    if len(selects) != 1 or selects[0]["type"] != "SELECT_NODE":
        raise ConfigError(f"{place}: `{text}` is more than an expression; a rule is one expression")
    return dict(without(selects[0], PLACES))


def written(place: str, node: Node) -> str:
    """SQL of an expression's tree, such that it reads back as the same tree.

    Raises:
        ConfigError: DuckDB's own text of it means something else; nothing is evaluated then.
    """
    text = _text(json.dumps(node))
    if without(parse(place, text), ("alias",)) != without(node, ("alias",)):  # it names what had no name
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
    return frozenset(use.path[0] for use in uses(parse("where", text)))


def check(
    place: str, text: str, node: Node, schema: pa.Schema, *, labels: Mapping[str, str] | None = None
) -> Expression:
    """The expression, with the columns that it reads.

    Args:
        place: what the messages start with: `where.words`.
        text: its SQL.
        node: its tree.
        schema: the columns that there are.
        labels: column -> what people know it as, where that is not its name.

    Raises:
        ConfigError: something that may not stand here, or an unknown column, field or function; says what is near.
    """
    _refuse(place, node, engine())
    references: set[tuple[str, str | None]] = set()
    values: dict[str, str] = {}
    lists: set[tuple[str, str]] = set()
    for use in uses(node):
        column, field, type_ = _resolved(place, use.path, schema)
        references.add((column, field))
        label, value = _value(column, field, type_, use)
        values[(labels or {}).get(label, label)] = value
        lists |= _lists(column, field, type_, use)
    order = sorted(references, key=lambda reference: (reference[0], reference[1] or ""))
    return Expression(text, tuple(order), dict(sorted(values.items())), frozenset(lists))


def quoted(name: str) -> str:
    """An SQL name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _refuse(place: str, node: Node, duck: Engine) -> None:
    for inner in nodes(node):
        kind = inner["class"]
        if kind not in CLASSES or inner.get("type") == "GROUPING_FUNCTION":
            what = REFUSED.get(kind, f"{inner.get('type', kind)}")
            raise ConfigError(f"{place}: {what} cannot stand in a rule, which sees one row's columns and nothing else")
        if kind == "FUNCTION":
            _refuse_function(place, inner, duck)
            arguments = [argument["expression"] for argument in inner["arguments"]]
            takes_lambda = str(inner["function_name"]).lower() in TAKE_LAMBDAS
            if takes_lambda and any(found["class"] == "LAMBDA" and is_arrow(found) for found in arguments):
                raise ConfigError(f"{place}: {ARROW_ADVICE}")


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
        tree = _tree(f"SELECT {macro}")
        for inner in nodes(tree.get("statements", [])):
            if inner["class"] == "SUBQUERY":
                raise ConfigError(f"{place}: {shown} looks into tables; a rule sees one row's columns and nothing else")
            path = inner.get("qualified_name", {}).get("path", [])
            if inner["class"] == "FUNCTION":
                plain = {**inner, "qualified_name": {"path": path[-1:]}}
                _refuse_function(place, plain, duck, inside=inside or name)
            elif inner["class"] == "COLUMN_REF" and inner["column_names"][-1].startswith("current_"):
                raise ConfigError(f"{place}: {shown} depends on the day or the session; a rule must not")


def _unknown_function(name: str, node: Node, duck: Engine) -> str:
    if node.get("is_operator"):
        return f"unknown operator '{name}'. To compare, there are: {COMPARISONS}."
    kinds = {"scalar", "macro"}
    names = [one for one, about in duck.functions.items() if about.kinds & kinds and one.replace("_", "").isalnum()]
    if nearest(name, names):
        return unknown_name("SQL function", name, names)
    return f"no SQL function named '{name}', and none has a name like it. DuckDB's functions can be used."


def advice(node: Node, schema: pa.Schema) -> str:
    """What to write instead, where an expression compares a whole list or attribute; empty where it does not.

    Args:
        node: the tree of an expression that `check` has let pass.
        schema: the columns that there are.
    """
    paths = [list(use.path) for use in uses(node)]  # no parameters of lambdas
    for inner in nodes(node):
        if inner["class"] not in ("COMPARISON", "BETWEEN"):
            continue
        for operand in inner.values():
            if not isinstance(operand, dict) or operand.get("column_names") not in paths:
                continue
            column, field, type_ = _resolved("", list(operand["column_names"]), schema)
            name = column if field is None else f"{column}.{field}"
            if type_ == SPANS_TYPE:
                return f"{name} is a list of spans: use len({name})"
            if _is_list(type_):
                return f"{name} is a list: use len({name})"
            if pa.types.is_struct(type_) and type_.num_fields:
                return f"{name} has fields: use one, such as {name}.{type_.field(0).name}"
    return ""


def compared_texts(tree: Any) -> set[str]:
    """Constant strings that are operands of a comparison, an arithmetic operator or a CAST themselves."""
    texts: set[str] = set()
    for one in nodes(tree):
        kind = one["class"]
        plain = kind in ("COMPARISON", "BETWEEN", "CAST") or one.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN")
        if not plain and not (kind == "FUNCTION" and one["function_name"] in ARITHMETIC):
            continue
        for value in one.values():
            for operand in value if isinstance(value, list) else [value]:
                inner = operand.get("expression", operand) if isinstance(operand, dict) else {}
                literal = inner.get("literal", {}) if isinstance(inner, dict) else {}
                if literal.get("kind") == "STRING":
                    texts.add(str(literal["text"]))
    return texts


def _resolved(place: str, path: Sequence[str], schema: pa.Schema) -> tuple[str, str | None, pa.DataType]:
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


def _value(column: str, field: str | None, type_: pa.DataType, use: Use) -> tuple[str, str]:
    """Label and SQL of what a rule saw: short, and never a text."""
    label = column if field is None else f"{column}.{field}"
    name = quoted(column) if field is None else f"{quoted(column)}.{quoted(field)}"
    if use.json_path is not None:
        path = "'" + use.json_path.replace("'", "''") + "'"
        return f"{label}->>{path}", f"left(TRY({name}->>{path}), {LONGEST_VALUE_CHARS})"
    if _is_list(type_):
        return (f"score({label})", f"score({name})") if use.function == "score" else (label, f"len({name})")
    if pa.types.is_struct(type_):
        return label, f"{name} IS NOT NULL"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        long = field is None and column in ("text", "metadata", "extra")
        return label, f"length({name})" if long else f"left({name}, {LONGEST_VALUE_CHARS})"
    return label, name


def _lists(column: str, field: str | None, type_: pa.DataType, use: Use) -> set[tuple[str, str]]:
    """The lists that a use of a column needs; a test of a whole attribute for NULL needs none."""
    if field is not None:
        return {(column, field)} if _is_list(type_) else set()
    if not pa.types.is_struct(type_) or use.function in NULL_TESTS:
        return set()
    return {(column, inner.name) for inner in type_ if _is_list(inner.type)}


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


@functools.lru_cache(maxsize=4096)
def _text(node: str) -> str:
    """DuckDB's SQL of an expression's tree, given as JSON."""
    tree = engine().tree(PREFIX + "true")
    tree["statements"][0]["node"]["where_clause"] = json.loads(node)
    return engine().text(tree).removeprefix(PREFIX)


_TREES: dict[str, Node] = {}
"""What DuckDB makes of a query, by its text: most sources of a run have the same rules. Trees are not to be changed."""

MOST_TREES = 4096


def foresee(texts: Iterable[str]) -> None:
    """Have DuckDB parse these expressions together, before `parse` asks for each: a tenth of the time."""
    queries = [query for text in dict.fromkeys(texts) if (query := PREFIX + text) not in _TREES]
    if queries:
        _remember(queries)


def _tree(query: str) -> Node:
    if query not in _TREES:
        _remember([query])
    return _TREES[query]


def _remember(queries: Sequence[str]) -> None:
    if len(_TREES) + len(queries) > MOST_TREES:
        _TREES.clear()
    _TREES.update(zip(queries, engine().trees(queries), strict=True))


@functools.cache
def _plain() -> Node:
    """The tree of a SELECT that has nothing but its WHERE."""
    return dict(without(engine().tree(PREFIX + "true")["statements"][0]["node"], PLACES))
