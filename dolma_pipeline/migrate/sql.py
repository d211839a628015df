"""What filters of Dolma's mixer ask of a document, as SQL of a recipe's rules.

A document is asked as JSON there: `attributes` maps names to lists of spans, `metadata` is an object. What is not there
makes a question false in JSONPath and, in attributes, mostly an error in jq; here it is false, never NULL, so that
`NOT` is true of it. Values of metadata are compared with their types in JSON: 3 is not "3".
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from dolma_pipeline.io.attribute_names import split_name

Path = tuple[str | int, ...]
"""Keys and positions from the document on: `("attributes", "exp__tagger__type", 0, 2)`."""
Literal = str | float | int | bool | None

OPERATORS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_PARTS = ("start", '"end"')
_NULL, _BOOLEAN, _STRING, _NUMBER = ("NULL",), ("BOOLEAN",), ("VARCHAR",), ("UBIGINT", "BIGINT", "DOUBLE")
_TYPES: tuple[tuple[str, ...], ...] = (_NULL, _BOOLEAN, _NUMBER, _STRING, ("ARRAY", "OBJECT"))
"""jq's order of types (its manual, under `sort`), by their names in DuckDB."""
_FIRST_INEXACT = 2**53


class Untranslatable(Exception):
    """What a question asks cannot be said in SQL; why. Never leaves this package."""


def spans_of(path: Path) -> str:
    """The span field `ATTRIBUTE.FIELD` behind a path of one key below `attributes`."""
    if len(path) != 2 or path[0] != "attributes" or not isinstance(path[1], str):
        raise Untranslatable(f"{shown(path)} is no list of spans; those are `attributes.NAME`")
    return _field(path[1])


def exists(path: Path) -> str:
    """Whether something is there."""
    match path:
        case ("attributes", str(key)) | ("attributes", str(key), 0):
            return f"len({_field(key)}) > 0"
        case ("attributes", str(key), int(at)):
            return f"len({_field(key)}) > {at}"
        case ("metadata", *keys) if keys and all(isinstance(key, str) for key in keys):
            return f"({_json(keys)}) IS NOT NULL"  # with `->`, null is something that is there
    raise Untranslatable(f"{shown(path)}: only attributes and keys of metadata can be asked for")


def compare(path: Path, sign: str, value: Literal, *, ordered: bool = False) -> str:
    """`path sign value`.

    Args:
        ordered: values of metadata of another type than `value` are below or above it, in jq's order of types, and what
            is not there is null; else only numbers are ordered, and of unlike types nothing is true.
    """
    match path:
        case ("attributes", str(key), int(at), 2):
            return _number(
                key, f"score({_field(key)})" if at == 0 else f"{_field(key)}[{at + 1}].score", at, sign, value
            )
        case ("attributes", str(key), int(at), (0 | 1) as part):
            return _number(key, f"{_field(key)}[{at + 1}].{_PARTS[part]}", at, sign, value)
        case ("metadata", *keys) if keys and all(isinstance(key, str) for key in keys):
            return _of_metadata(keys, sign, value, ordered=ordered)
    raise Untranslatable(f"{shown(path)}: only numbers of spans and keys of metadata can be compared")


def count(path: Path, sign: str, value: Literal) -> str:
    """`number of spans sign value`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Untranslatable(f"a length is compared with a number, not with {value!r}")
    return f"len({spans_of(path)}) {OPERATORS[sign]} {_decimal(value)}"


def shown(path: Sequence[str | int]) -> str:
    """As people write it: `attributes.name[0][2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".") or "$"


def all_of(terms: Sequence[str]) -> str:
    """Terms that must all be true."""
    return terms[0] if len(terms) == 1 else " AND ".join(bracketed(term) for term in terms)


def any_of(terms: Sequence[str]) -> str:
    """Terms of which one must be true."""
    return terms[0] if len(terms) == 1 else " OR ".join(bracketed(term) for term in terms)


def none_of(term: str) -> str:
    """A term that must not be true."""
    return f"NOT ({term})"


def bracketed(term: str) -> str:
    """A term in brackets, where it needs some beside others."""
    return f"({term})" if re.search(r" (?:AND|OR) ", term) and not _is_call(term) else term


def _is_call(term: str) -> bool:
    """Whether brackets enclose the whole term."""
    if not re.match(r"(?:NOT |\w*)\(", term) or not term.endswith(")"):
        return False
    depth = 0
    for at, sign in enumerate(term):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and sign == ")":
            return at == len(term) - 1
    return False


def _field(key: str) -> str:
    return ".".join(
        part if re.fullmatch(r"[A-Za-z_]\w*", part, re.ASCII) else _quoted(part) for part in split_name(key)
    )


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _decimal(value: float) -> str:
    """Without an exponent: DuckDB takes `1e-05` for 64 bits, and scores, which have 32, would differ from it."""
    return format(Decimal(repr(value)), "f")


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def _number(key: str, sql: str, at: int, sign: str, value: Literal) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Untranslatable(f"a number of a span is compared with a number, not with {value!r}")
    asked = f"{sql} {OPERATORS[sign]} {_decimal(value)}"
    if sql.startswith("score(") and not _NUMBERS[sign](0.0, value):
        return asked  # the score of no span is 0, of which this is false
    return f"{exists(('attributes', key, at))} AND {asked}"


def _metadata(keys: Sequence[str | int]) -> str:
    return f"metadata->>{_json_path(keys)}"


def _json(keys: Sequence[str | int]) -> str:
    return f"metadata->{_json_path(keys)}"


def _json_path(keys: Sequence[str | int]) -> str:
    return _text("$." + ".".join(map(_json_key, keys)))


def _json_key(key: str | int) -> str:
    return str(key) if re.fullmatch(r"[A-Za-z_]\w*", str(key), re.ASCII) else _quoted(str(key))


def _of_metadata(keys: Sequence[str | int], sign: str, value: Literal, *, ordered: bool) -> str:
    if (value is None or isinstance(value, bool)) and sign not in ("==", "!="):
        raise Untranslatable(f"{json.dumps(value)} is compared with == or != only, not with {sign}")
    if isinstance(value, str) and sign != "==" and not ordered:
        raise Untranslatable(f"a text is compared with == only, not with {sign}: Dolma's JSONPath orders numbers alone")
    if value is None and ordered:
        return f"{_metadata(keys)} IS {'NOT ' if sign == '!=' else ''}NULL"
    if sign == "!=":
        return none_of(_of_metadata(keys, "==", value, ordered=ordered))
    same = _of_one_type(keys, sign, value)
    if not ordered or sign == "==":
        return f"coalesce({same}, FALSE)"
    at = _TYPES.index(_types_of(value))
    others = sum(_TYPES[:at] if sign in ("<", "<=") else _TYPES[at + 1 :], ())
    # Only what is not there has no type; null, which jq takes it for, is the least of all.
    return f"coalesce({_is_of(keys, others)} OR ({same}), {str(sign in ('<', '<=')).upper()})"


def _of_one_type(keys: Sequence[str | int], sign: str, value: Literal) -> str:
    """`sign value` of values that have its type; false of others, NULL of what is not there."""
    typed, found = _is_of(keys, _types_of(value)), f"({_metadata(keys)})"
    if value is None:
        return typed
    if isinstance(value, bool | str):
        text = value if isinstance(value, str) else json.dumps(value)
        return f"{typed} AND {found} {OPERATORS[sign]} {_text(text)}"
    if isinstance(value, int) and abs(value) >= _FIRST_INEXACT:
        raise Untranslatable(
            f"{value} is too large: numbers of metadata are compared as 64-bit floats, exact for integers below 2^53"
        )
    return f"{typed} AND TRY_CAST({found} AS DOUBLE) {OPERATORS[sign]} {_decimal(value)}"


def _is_of(keys: Sequence[str | int], types: Sequence[str]) -> str:
    one, asked = len(types) == 1, ", ".join(map(_text, types))
    return f"json_type({_json(keys)}) " + (f"= {asked}" if one else f"IN ({asked})")


def _types_of(value: Literal) -> tuple[str, ...]:
    """What DuckDB's `json_type` calls the types of values that can equal a literal."""
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _BOOLEAN
    return _STRING if isinstance(value, str) else _NUMBER
