"""What a field of a recipe dataclass tells about itself: purpose, unit, bounds; and the walk over all fields.

The same `Key` serves the checks (`config.typed`), `COMMAND --help` and the test that holds docs/recipes.md to
the code, so a key is described in one place. Costs nothing: plain data.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

Unit = Literal["", "bytes", "tokens", "documents", "files", "characters", "words", "steps", "processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What one key of a recipe is for, and which values it takes beyond its type.

    Args:
        purpose: one line.
        unit: what a number counts. A number of bytes may be written `4GB` or `64KiB`, any other `20M`.
        at_least, at_most: bounds that are allowed themselves (of a list, mapping or text: its length).
        above, below: bounds that are not allowed themselves.
        shorthand: name of the key that a plain string at this place stands for (`mixer: proportional`).
        one_or_more: a single value may stand for a list of one.
        derived: in words, where the value comes from if the key is left out: from other keys, not from the class.
    """

    purpose: str
    unit: Unit = ""
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    shorthand: str | None = None
    one_or_more: bool = False
    derived: str | None = None


class Field(NamedTuple):
    """One key of one section: its name in YAML and in Python, its type without `Annotated`, its default."""

    yaml_name: str
    name: str
    type: Any
    key: Key
    default: Any
    required: bool


class Row(NamedTuple):
    """One line of a table of keys: the dotted path, the type in words, the default as YAML, unit and purpose."""

    path: str
    type: str
    default: str
    unit: str
    purpose: str


_FIELDS: dict[type, tuple[Field, ...]] = {}


def fields_of(section: type) -> tuple[Field, ...]:
    """The keys of a recipe dataclass, in order; fields without a `Key` are not part of the YAML."""
    if section in _FIELDS:
        return _FIELDS[section]
    fields = []
    hints = get_type_hints(section, include_extras=True)
    for item in dataclasses.fields(section):
        hint = hints[item.name]
        if get_origin(hint) is not Annotated:
            continue
        inner, key = get_args(hint)[:2]
        made = item.default_factory is not dataclasses.MISSING
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        required = default is dataclasses.MISSING and not made
        fields.append(Field(item.name.rstrip("_"), item.name, inner, key, None if required else default, required))
    _FIELDS[section] = tuple(fields)
    return _FIELDS[section]


def options_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself alone; `None` comes as `NoneType`."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def section_of(hint: Any) -> type | None:
    """The recipe dataclass that a type is, or may be, or holds (list, mapping); None if there is none."""
    for option in options_of(hint):
        for candidate in (option, *get_args(option)):
            if _is_section(candidate):
                section: type = candidate
                return section
    return None


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def rest_of(section: type) -> str | None:
    """The field that takes all keys without a field of their own (parameters, options); None if there is none."""
    names = [item.name for item in dataclasses.fields(section) if item.name in ("parameters", "options")]
    return names[0] if names else None


def shape_of(hint: Any) -> Literal["value", "list", "mapping"]:
    """Whether a type is one value (or one section), a list, or a mapping of names chosen by the user."""
    origins = [get_origin(option) for option in options_of(hint)]
    return "list" if tuple in origins else "mapping" if Mapping in origins else "value"


def words_for(hint: Any, unit: str = "") -> str:
    """A type in words: `list of text`, `whole number or auto`, `parquet or jsonl`."""
    return " or ".join(part for option in options_of(hint) if (part := _word(option, unit)))


def rows_of(section: type, prefix: str = "") -> Iterator[Row]:
    """The table of keys of `section` and of the sections below it, in order."""
    for field in fields_of(section):
        path = prefix + field.yaml_name
        below = section_of(field.type)
        default = field.key.derived or ("required" if field.required else default_text(field))
        yield Row(path, words_for(field.type, field.key.unit), default, field.key.unit, field.key.purpose)
        if below is not None:
            yield from rows_of(below, path + {"value": ".", "list": "[].", "mapping": ".NAME."}[shape_of(field.type)])
    rest = rest_of(section)
    if rest is not None:
        yield Row(f"{prefix}KEY", "anything", "its own", "", f"all other keys are {rest}")


def default_text(field: Field) -> str:
    """The default of a key as one would write it in YAML; a section that is left out has none (`-`)."""
    value = field.default
    if dataclasses.is_dataclass(value):
        first = fields_of(type(value))[0]
        return str(getattr(value, first.name))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(str(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, int) and value >= 1000 and value % 1000 == 0:
        for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
            if value % size == 0:
                return f"{value // size}{letter}" + ("B" if field.key.unit == "bytes" else "")
    return str(value).replace("\n", "\\n")


def _word(option: Any, unit: str) -> str:
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "", Any: "anything"}
    if option in plain:
        return "size" if option is int and unit == "bytes" else plain[option]
    origin, inner = get_origin(option), get_args(option)
    if origin is Literal:
        return " or ".join(str(choice) for choice in inner)
    if origin is tuple:
        return "list of " + (words_for(inner[0]) if section_of(inner[0]) is None else "mappings")
    if origin is Mapping:
        return "mapping of name to " + (words_for(inner[1]) if section_of(inner[1]) is None else "mapping")
    return "mapping"
