"""YAML with places: text in, plain data out, and every key and value knows its `file:line`.

PyYAML scans and parses; what a scalar means is decided here, by the core schema of YAML 1.2.2 (section 10.3.2):
only true and false are booleans (`no` and `on` are text), `3e-3` is a number, `010` is ten, `12:30` and
`2024-01-01` are text. Stricter than YAML where a recipe would go wrong silently: a repeated key, a tag, a key
that is not text, a value that contains itself and a second document in a file are errors.
Costs about 1 ms for 20 lines; loads PyYAML only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import yaml

from dolma_pipeline.errors import ConfigError

Scalar = str | int | float | bool | None

MAX_VALUES = 100_000
"""Aliases are followed, so a small file can stand for a huge one; beyond this many values it is refused."""

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DIGITS = 400


@dataclass(slots=True)
class Located:
    """A value and where it stands.

    Args:
        value: a scalar, a list of `Located`, or a mapping of text to `Located`.
        place: `file:line` of the value, or the override that it comes from.
        key_place: `file:line` of its key, in a mapping.
        text: a scalar as written, without quotes.
        quoted: written with quotes or as a block.
    """

    value: Scalar | list[Located] | dict[str, Located]
    place: str
    key_place: str | None = None
    text: str = ""
    quoted: bool = False

    @property
    def at(self) -> str:
        """Where to look first: the line of a section's or list's key, the line of a scalar."""
        return self.key_place or self.place


RECIPE = ("a recipe", "`output`, `sources` and a stage")
"""What errors call the file, and what it needs at least."""


def read_yaml(path: str, *, name: str = "", kind: tuple[str, str] = RECIPE) -> Located:
    """The mapping in a YAML file.

    Args:
        name: stands for the path in places; default the path. kind: what errors call the file, and what it needs.

    Raises:
        ConfigError: the file is missing, is not UTF-8, is empty, or `parse_yaml` refuses it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; {_advice(path, kind[0])}") from error
    return parse_yaml(_decode(data, name or path), name or path, kind=kind)


def _advice(path: str, what: str) -> str:
    """What to give instead of a path that cannot be read; a run's folder holds the recipe that made it."""
    within = os.path.join(path, "recipe.yaml")
    if what == RECIPE[0] and os.path.isfile(within):
        return f"it is the folder of a run, and a recipe is wanted here: give yours, or {within}"
    return f"{what} is a YAML file, give its path"


def parse_yaml(text: str, name: str, *, kind: tuple[str, str] = RECIPE) -> Located:
    """The mapping in a YAML text; `name` stands for the file in places, `kind` as of `read_yaml`.

    Raises:
        ConfigError: no YAML, empty, or not a mapping at the top; names the line.
    """
    top = _parse(text, _Places(name, True))
    if top is None:
        raise ConfigError(f"{name}:1: the file is empty; {kind[0]} needs at least {kind[1]}")
    if not isinstance(top.value, dict):
        raise ConfigError(f"{top.place}: found {describe(top)}, expected keys and values such as `output: runs/first`")
    return top


def parse_value(text: str, place: str) -> Located:
    """One value, as after `key:`; `place` is what errors show. Text that YAML would take for a mark of its own
    (`*.gz`, `@files.txt`, `&`, `%`, a backtick) stays text.
    """
    if text[:1] in ("*", "@", "&", "%", "`"):
        return Located(text, place, place, text)
    value = _parse(text, _Places(place, False))
    if value is None:
        return Located(None, place, place, "")
    value.key_place = place
    return value


def plain(located: Located) -> Any:
    """The data alone, without places."""
    if isinstance(located.value, dict):
        return {key: plain(value) for key, value in located.value.items()}
    if isinstance(located.value, list):
        return [plain(value) for value in located.value]
    return located.value


def scalar_of(text: str) -> Scalar:
    """What an unquoted scalar means in the core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def describe(located: Located) -> str:
    """What was found, in words: `the number 3.5`, `text 'abc'`, `a list of 2`, `nothing`."""
    value = located.value
    if isinstance(value, dict):
        return f"a mapping of {len(value)} keys" if len(value) != 1 else f"a mapping with the key '{next(iter(value))}'"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return f"'{located.text}' (nothing)" if located.text else "nothing"
    shown = located.text if len(located.text) <= 60 else located.text[:57] + "..."
    if isinstance(value, bool):
        return f"'{shown}' (true or false)"
    return f"text '{shown}'" if isinstance(value, str) else f"the number {shown}"


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner, parser and composer; tags are refused, and resolving is left to `scalar_of`."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise yaml.MarkedYAMLError(
                problem=f"found the tag '{tag}'; a recipe has no tags, quote the text if it starts with '!'",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


@dataclass(frozen=True, slots=True)
class _Places:
    """Makes places of PyYAML's lines; an override has one place for everything."""

    name: str
    has_lines: bool

    def of_line(self, line: int) -> str:
        return f"{self.name}:{line + 1}" if self.has_lines else self.name

    def of(self, node: yaml.Node) -> str:
        return self.of_line(node.start_mark.line)


def _parse(text: str, places: _Places) -> Located | None:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise ConfigError(
            f"{places.of_line(line)}: found the control character U+{code:04X}; write it as an escape in double quotes"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = places.of_line(mark.line) if mark else places.name
        raise ConfigError(f"{place}: {_explain(error, text)}") from error
    except RecursionError as error:
        raise ConfigError(f"{places.name}: lists or mappings are nested too deep") from error
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, such as "\UFFFFFFFF"
        raise ConfigError(f"{places.name}: an escape in double quotes is beyond Unicode (U+10FFFF)") from error
    return None if node is None else _Walk(places).located(node)


class _Walk:
    """Nodes to `Located`; counts values and watches for a node inside itself."""

    def __init__(self, places: _Places) -> None:
        self.places = places
        self.count = 0
        self.open: set[int] = set()

    def located(self, node: yaml.Node) -> Located:
        place = self.places.of(node)
        self.count += 1
        if self.count > MAX_VALUES:
            raise ConfigError(f"{place}: more than {MAX_VALUES:,} values once aliases are followed: not a recipe")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, place)
        if id(node) in self.open:
            raise ConfigError(f"{place}: found a value that contains itself through an alias")
        self.open.add(id(node))
        value = self.mapping(node) if isinstance(node, yaml.MappingNode) else [self.located(n) for n in node.value]
        self.open.discard(id(node))
        return Located(value, place)

    def scalar(self, node: yaml.ScalarNode, place: str) -> Located:
        text: str = node.value
        if _SURROGATE.search(text):
            raise ConfigError(f"{place}: found half of a surrogate pair; write the character itself")
        if node.style is not None:
            return Located(text, place, text=text, quoted=True)
        if len(text) > _MAX_DIGITS and _FLOAT.fullmatch(text):
            raise ConfigError(f"{place}: found a number of {len(text)} digits; quote it if it is text")
        return Located(scalar_of(text), place, text=text)

    def mapping(self, node: yaml.MappingNode) -> dict[str, Located]:
        entries: dict[str, Located] = {}
        for key_node, value_node in node.value:
            place = self.places.of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{place}: found a list or mapping as a key, expected text; put it in quotes")
            key = self.scalar(key_node, place)
            if not isinstance(key.value, str):
                raise ConfigError(f"{place}: found {describe(key)} as a key, expected text; put it in quotes")
            if key.value == "<<" and not key.quoted:
                raise ConfigError(f"{place}: found the merge key '<<', which YAML 1.2 does not have; repeat the keys")
            if key.value in entries:
                raise ConfigError(f"{place}: the key '{key.value}' is there twice, first at {entries[key.value].at}")
            value = self.located(value_node)
            value.key_place = place
            entries[key.value] = value
        return entries


def _decode(data: bytes, name: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ConfigError(f"{name}:1: the file is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = error.problem or "cannot be read"
    mark = error.problem_mark
    line = text.split("\n")[mark.line] if mark and mark.line < text.count("\n") + 1 else ""
    if "'\\t'" in problem or ("\t" in line[: len(line) - len(line.lstrip())]):
        return "found a tab where YAML wants spaces; indent with spaces"
    if problem.startswith("found the tag"):
        return problem
    if "cannot start any token" in problem:
        sign = line[mark.column : mark.column + 1] if mark else ""
        return f"a value cannot start with '{sign}'; put it in quotes"
    if "undefined alias" in problem or "expected alphabetic or numeric character" in problem:
        return "a value that starts with '*' or '&' is an alias or anchor to YAML; put it in quotes"
    if "mapping values are not allowed" in problem:
        return "found a second ': ' in one line; put the value in quotes, or indent the lines alike"
    if "expected a single document" in (error.context or ""):
        return "a second document starts here ('---'); a recipe is one document"
    context = f" ({error.context})" if error.context else ""
    return f"not YAML: {problem}{context}"
