"""`key=value` on the command line: the same tree, the same YAML, the same checks as the file.

Also what stands for more than is written: shorthands (`mixer: proportional`) and values that follow from others
(a tagger's name). Pure: changes the tree of `Located` in place, touches no file.
"""

from __future__ import annotations

import re

from dolma_pipeline.config.keys import fields_of, section_of, shape_of
from dolma_pipeline.config.yaml import Located, describe, parse_value
from dolma_pipeline.errors import ConfigError, unknown_name

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")


def is_override(argument: str) -> bool:
    """Whether a command-line argument has the form KEY=VALUE (a path such as `./a=b.yaml` has not)."""
    key, sign, _ = argument.partition("=")
    return bool(sign) and _KEY.fullmatch(key) is not None


def apply_override(tree: Located, override: str) -> None:
    """Put one `key=value` into the tree. Lists are entered by position or by an item's name
    (`tag.taggers.pii_v1.phone_regions=[US]`); `key=null` takes the key out.

    Raises:
        ConfigError: not KEY=VALUE, value not YAML, or a way that leads through a number or text. Whether the key
            exists and the value fits is checked with the rest of the recipe.
    """
    place = f"override '{override}'"
    if not is_override(override):
        raise ConfigError(f"{place}: expected KEY=VALUE, such as mix.target_tokens=20M")
    key, _, text = override.partition("=")
    value = parse_value(text.strip(), place)
    *way, last = _parts(key)
    here, path = tree, ""
    for part in way:
        here = _enter(here, part, path, place)
        path = f"{path}.{part}" if path else part
    _put(here, last, path, value, place)


def expand(tree: Located, section: type) -> None:
    """Write out the shorthands of `section` and of all sections below it; what has another form is left alone."""
    if not isinstance(tree.value, dict):
        return
    for field in fields_of(section):
        value = tree.value.get(field.yaml_name)
        if value is None:
            continue
        below, shape = section_of(field.type), shape_of(field.type)
        items = [value] if shape == "value" or below is None else _items(value, shape)
        for item in items:
            if field.key.shorthand is not None and isinstance(item.value, str):
                item.value = {field.key.shorthand: Located(item.value, item.place, item.place, item.text, item.quoted)}
            if below is not None:
                expand(item, below)


def derive(tree: Located) -> None:
    """Fill in what follows from other keys: the recipe's name from `output`, a use of a tagger from the tagger."""
    top = tree.value
    if not isinstance(top, dict):
        return
    output = top.get("output")
    if "name" not in top and output is not None and isinstance(output.value, str):
        last = output.value.rstrip("/").rpartition("/")[2]
        top["name"] = Located(last or "run", output.place, output.key_place, last)
    name_taggers(_child(_child(tree, "tag"), "taggers"))


def name_taggers(taggers: Located | None) -> None:
    """Give each use of a tagger that has no name the name of its tagger."""
    for item in taggers.value if taggers is not None and isinstance(taggers.value, list) else ():
        name, tagger = _child(item, "name"), _child(item, "tagger")
        if name is None and tagger is not None and isinstance(item.value, dict):
            item.value["name"] = tagger


def _parts(key: str) -> list[str]:
    """The keys on the way. A rule of a preset has a dot in its name: `mix.where.gopher.words` leads to one rule."""
    section, where, rule = key.partition(".where.")
    return [*section.split("."), "where", rule] if where else key.split(".")


def _child(located: Located | None, key: str) -> Located | None:
    return located.value.get(key) if located is not None and isinstance(located.value, dict) else None


def _items(value: Located, shape: str) -> list[Located]:
    if shape == "list":
        return value.value if isinstance(value.value, list) else []
    return list(value.value.values()) if isinstance(value.value, dict) else []


def _enter(here: Located, part: str, path: str, place: str) -> Located:
    if isinstance(here.value, list):
        return here.value[_position(here.value, part, path, place)]
    if here.value is None:
        here.value = {}
    if not isinstance(here.value, dict):
        raise ConfigError(f"{place}: {path} is {describe(here)}, which has no keys; there is no '{path}.{part}'")
    if part not in here.value:
        here.value[part] = Located({}, place, place)
    return here.value[part]


def _put(here: Located, last: str, path: str, value: Located, place: str) -> None:
    removes = value.value is None and value.text != ""
    if isinstance(here.value, list):
        position = _position(here.value, last, path, place)
        if removes:
            del here.value[position]
        else:
            value.key_place = None
            here.value[position] = value
        return
    if here.value is None:
        here.value = {}
    if not isinstance(here.value, dict):
        raise ConfigError(f"{place}: {path} is {describe(here)}, which has no keys; there is no '{path}.{last}'")
    if removes and last in here.value:
        del here.value[last]
    else:
        here.value[last] = value


def _position(items: list[Located], part: str, path: str, place: str) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    names = []
    for position, item in enumerate(items):
        found = _child(item, "name") or _child(item, "tagger")
        names.append(str(found.value) if found is not None else "")
        if names[-1] == part:
            return position
    if part.isdecimal():
        raise ConfigError(f"{place}: {path} has {len(items)} items, numbered from 0; there is no {part}")
    raise ConfigError(f"{place}: {path}: " + unknown_name("item", part, [name for name in names if name]))
