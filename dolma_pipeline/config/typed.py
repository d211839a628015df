"""From a tree of `Located` values to the dataclasses of `config.recipe`, every type checked, every error placed.

An error reads `file:line: key.path: found X, expected Y; what to do`. Pure; costs microseconds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from dolma_pipeline.config.keys import Field, Key, fields_of, options_of, rest_of, rows_of, section_of, words_for
from dolma_pipeline.config.recipe import MOVED, SECRET, Recipe, without_value
from dolma_pipeline.config.sizes import parse_size
from dolma_pipeline.config.yaml import Located, describe
from dolma_pipeline.errors import ConfigError, nearest, unknown_name

MOST = (1 << 63) - 1
"""No whole number of a recipe is larger: digests and plans keep 64 bits."""


NO_SECRETS = (
    "a recipe holds no secrets: it is copied into the run's folder, and to workers. Take this key out, and give "
    "credentials in the environment (docs/storage.md)."
)


def build_recipe(tree: Located, sections: Mapping[str, type] | None = None) -> Recipe:
    """The typed recipe of an expanded tree, with the places of its keys in `origin`.

    Args:
        tree: a recipe's mapping.
        sections: further top-level keys, and the dataclass of each; those that are there come in this order.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, a value out of bounds, or a ValueError of a section.
    """
    builder = _Builder(sections or {})
    recipe: Recipe = builder.section(Recipe, tree, "")
    extra = {name: builder.sections[name] for name in sections or {} if name in builder.sections}
    return dataclasses.replace(recipe, sections=extra, origin=builder.origin)


def build_section(section: type, located: Located) -> tuple[Any, dict[str, str]]:
    """A section that is a file of its own, and the places of its keys: dotted key -> place.

    Raises:
        ConfigError: as `build_recipe`.
    """
    builder = _Builder({})
    return builder.section(section, located, ""), builder.origin


def build_value(section: type, name: str, located: Located) -> Any:
    """The value of one key of a section alone, at the top of a recipe.

    Raises:
        ConfigError: as `build_recipe`.
    """
    (field,) = [one for one in fields_of(section) if one.yaml_name == name]
    return _Builder({}).value(field.type, field.key, located, name)


Number = TypeVar("Number", int, float)


class _Builder:
    """One walk over the tree; `origin` collects the place of every key on the way, `sections` those from outside."""

    def __init__(self, known: Mapping[str, type]) -> None:
        self.known = known
        self.origin: dict[str, str] = {}
        self.sections: dict[str, Any] = {}

    def section(self, section: Any, located: Located, path: str) -> Any:
        if not isinstance(located.value, dict):
            raise _wrong(located, path, f"a mapping with the keys {_names(section)}", _section_advice(located))
        fields = {field.yaml_name: field for field in fields_of(section)}
        rest = rest_of(section)
        made: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in located.value.items():
            at = f"{path}.{name}" if path else name
            if name in fields:
                made[fields[name].name] = self.value(fields[name].type, fields[name].key, value, at)
            elif rest is not None:
                others[name] = self.anything(value, at)
            elif not path and name in self.known:
                if value.value is not None or not value.text:  # `null` takes a stage out
                    self.sections[name] = self.foreign(self.known[name], value, at)
            elif at in MOVED:
                raise ConfigError(f"{value.at}: {at}: {MOVED[at]}")
            elif path == "storage" and SECRET.search(name):
                raise ConfigError(f"{without_value(value.at)}: {at}: {NO_SECRETS}")
            else:
                known = [*fields, *([] if path else self.known)]
                raise ConfigError(f"{value.at}: {at}: {unknown_name('key', name, known, hint=_elsewhere(name, known))}")
        for field in sorted(fields.values(), key=lambda field: field.key.derived is not None):
            if field.required and field.name not in made:
                raise _missing(field, located, path)
        if rest is not None:
            made[rest] = others
        return section(**made)

    def foreign(self, section: type, located: Located, path: str) -> Any:
        self.origin[path] = located.at
        try:
            return self.section(section, located, path)
        except ValueError as error:  # what its `__post_init__` says of keys that do not fit each other
            raise ConfigError(f"{located.at}: {path}: {error}") from error

    def value(self, hint: Any, key: Key, located: Located, path: str) -> Any:
        if hint is Any:
            return self.anything(located, path)
        self.origin[path] = located.at
        options = options_of(hint)
        if located.value is None and NoneType in options and not (section_of(hint) and not located.text):
            return None
        for option in options:
            origin = get_origin(option)
            if origin is Literal and located.value in get_args(option) and isinstance(located.value, str):
                return located.value
            if origin is tuple:
                return self.sequence(get_args(option)[0], key, located, path)
            if origin is Mapping:
                return self.mapping(get_args(option)[1], key, located, path)
            if isinstance(option, type) and dataclasses.is_dataclass(option):
                return self.section(option, located, path)
        return _scalar(hint, key, located, path)

    def sequence(self, inner: Any, key: Key, located: Located, path: str) -> tuple[Any, ...]:
        items = located.value
        if key.one_or_more and isinstance(items, str):
            items = [located]
        if not isinstance(items, list):
            advice = f"; write [{located.text}]" if isinstance(items, str) else ""
            raise _wrong(located, path, f"a list{advice}", _section_advice(located))
        _check_length(len(items), key, located, path, "at least one")
        plain_items = dataclasses.replace(key, at_least=None, at_most=None)
        if items and items[0] is located:
            return (self.value(inner, plain_items, located, path),)
        return tuple(self.value(inner, plain_items, item, f"{path}.{i}") for i, item in enumerate(items))

    def mapping(self, inner: Any, key: Key, located: Located, path: str) -> dict[str, Any]:
        if not isinstance(located.value, dict):
            raise _wrong(located, path, f"a {words_for(Mapping[str, inner])}", _section_advice(located))
        _check_length(len(located.value), key, located, path, "at least one")
        plain_items = dataclasses.replace(key, at_least=None, at_most=None)
        return {name: self.value(inner, plain_items, value, f"{path}.{name}") for name, value in located.value.items()}

    def anything(self, located: Located, path: str) -> Any:
        """A parameter as it is, lists as tuples: its type is known to the tagger, mixer or runner only."""
        self.origin[path] = located.at
        if isinstance(located.value, dict):
            return {name: self.anything(value, f"{path}.{name}") for name, value in located.value.items()}
        if isinstance(located.value, list):
            return tuple(self.anything(value, f"{path}.{i}") for i, value in enumerate(located.value))
        if isinstance(located.value, int) and not -MOST - 1 <= located.value <= MOST:
            raise _wrong(located, path, f"a whole number of 64 bits, at most {MOST}", "quote it if it is text")
        return _finite(located, path)


def _scalar(hint: Any, key: Key, located: Located, path: str) -> Any:
    value = located.value
    options = options_of(hint)
    if isinstance(value, bool) and bool in options:
        return value
    if isinstance(value, str) and str in options:
        _check_length(len(value), key, located, path, "text")
        return value
    if int in options:
        number = _whole_number(key, located)
        if number is not None:
            return _in_bounds(number, key, located, path)
    if float in options and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return _in_bounds(float(_finite(located, path)), key, located, path)
        except OverflowError:
            raise _wrong(located, path, "a number below 1.8e308", "") from None
    raise _wrong(located, path, _expected(hint, key), _scalar_advice(hint, key, located))


def _whole_number(key: Key, located: Located) -> int | None:
    value = located.value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and not located.quoted:
        try:
            return parse_size(value, of_bytes=key.unit == "bytes")
        except ValueError:
            return None
    return None


def _in_bounds(number: Number, key: Key, located: Located, path: str) -> Number:
    wanted = []
    if isinstance(number, int) and abs(number) > MOST:
        wanted.append(f"at most {MOST}" if number > 0 else f"at least -{MOST}")
    if key.at_least is not None and number < key.at_least:
        wanted.append(f"at least {key.at_least}")
    if key.at_most is not None and number > key.at_most:
        wanted.append(f"at most {key.at_most}")
    if key.above is not None and number <= key.above:
        wanted.append(f"above {key.above}")
    if key.below is not None and number >= key.below:
        wanted.append(f"below {key.below}")
    if wanted:
        raise _wrong(located, path, wanted[0], key.purpose)
    return number


def _check_length(length: int, key: Key, located: Located, path: str, what: str) -> None:
    if key.at_least is not None and length < key.at_least:
        raise ConfigError(f"{located.at}: {path}: is empty, expected {what}: {key.purpose}")


def _finite(located: Located, path: str) -> Any:
    if isinstance(located.value, float) and not math.isfinite(located.value):
        raise _wrong(located, path, "a finite number", "quote it if it is text")
    return located.value


def _expected(hint: Any, key: Key) -> str:
    choices = [choice for option in options_of(hint) if get_origin(option) is Literal for choice in get_args(option)]
    if choices and int not in options_of(hint):
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    words = words_for(hint, key.unit)
    return {"text": "text", "true or false": "true or false", "size": "a size such as 64k, 20M or 1.5GB"}.get(
        words, f"a {words}" + (" such as 5000 or 20M" if int in options_of(hint) and key.unit == "tokens" else "")
    )


def _scalar_advice(hint: Any, key: Key, located: Located) -> str:
    options, value = options_of(hint), located.value
    choices = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    if choices and isinstance(value, str) and (near := nearest(value, choices, count=1)):
        return f"did you mean '{near[0]}'?"
    if str in options and value is not None and not isinstance(value, dict | list):
        return f'put it in quotes: "{located.text}"'
    if int in options and isinstance(value, float):
        return f"write {int(value)}" if math.isfinite(value) and value == int(value) else "write it without a fraction"
    if located.quoted and (int in options or float in options or bool in options):
        return "write it without quotes"
    if int in options and isinstance(value, str) and value[:1].isdigit():
        try:
            parse_size(value, of_bytes=key.unit == "bytes")
        except ValueError as error:
            return str(error)
    if value is None:
        return "leave the key out for its default"
    return ""


def _section_advice(located: Located) -> str:
    if located.value is None:
        return "fill it, or leave the key out; {} stands for all defaults" if not located.text else "leave the key out"
    return ""


def _wrong(located: Located, path: str, expected: str, advice: str) -> ConfigError:
    place = located.at if isinstance(located.value, dict | list) or located.value is None else located.place
    return ConfigError(
        f"{place}: {path}: found {describe(located)}, expected {expected}" + (f"; {advice}" if advice else "")
    )


def _missing(field: Field, located: Located, path: str) -> ConfigError:
    at = f"{path}.{field.yaml_name}" if path else field.yaml_name
    return ConfigError(
        f"{located.at}: {at}: is missing; expected {_expected(field.type, field.key)}: {field.key.purpose}"
    )


def _names(section: Any) -> str:
    return ", ".join(field.yaml_name for field in fields_of(section))


def _elsewhere(name: str, here: Iterable[str]) -> str:
    """Where else a key of that name exists, for one that was put into the wrong section."""
    if nearest(name, here):
        return ""
    paths = [row.path for row in rows_of(Recipe) if row.path.rpartition(".")[2] == name]
    return f"There is {' and '.join(paths)}." if paths else ""
