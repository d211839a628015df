"""A recipe as YAML with every default written out: `recipe.yaml` in the run's folder.

The order is that of the dataclasses, so equal recipes give equal bytes, and loading the text gives an equal
recipe; what follows from other keys is written out (`config.resolve`). Sections of stages from outside come last.
Absent stages, an absent `storage`, and keys that mean nothing beside others (bands of an exact step), stay absent;
presets are written as the rules that they stand for.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dolma_pipeline.config.checks import TRAIN_ONLY, foreign_keys
from dolma_pipeline.config.keys import fields_of, rest_of
from dolma_pipeline.config.recipe import (
    STAGES,
    DedupeStepConfig,
    MixConfig,
    Recipe,
    ReplaceConfig,
    TokenizerConfig,
    TrainConfig,
)
from dolma_pipeline.config.resolve import resolved
from dolma_pipeline.config.yaml import scalar_of

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./*-]*")
_OLD_BOOLS = frozenset(["y", "n", "yes", "no", "on", "off"])
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MAX_FLOW = 100


def resolved_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML text, without comments, ending in a newline."""
    recipe = resolved(recipe)
    tree = _tree(recipe) | {name: _tree(section) for name, section in recipe.sections.items()}
    return as_yaml(tree)


def as_yaml(tree: dict[str, Any]) -> str:
    """Mappings, lists and scalars as YAML that a recipe's loader reads as the same, ending in a newline."""
    return "\n".join(_lines(tree, "")) + "\n"


def _tree(section: Any) -> dict[str, Any]:
    """Keys as in YAML: parameters beside the named keys, what does not apply left out."""
    tree = {}
    for field in fields_of(type(section)):
        value = getattr(section, field.name)
        if not _applies(section, field.name, value):
            continue
        tree[field.yaml_name] = _value(value)
    rest = rest_of(type(section))
    if rest is not None:
        tree |= {name: _value(value) for name, value in getattr(section, rest).items()}
    return tree


def _applies(section: Any, name: str, value: Any) -> bool:
    if isinstance(section, Recipe):
        if name == "sources":
            return bool(value)  # sft and dpo alone have none
        return value is not None or name not in (*STAGES, "storage")
    if isinstance(section, MixConfig):
        return name not in ("presets", "skip_rules")  # their rules stand in `where`
    if isinstance(section, DedupeStepConfig):
        if section.signature_bytes is not None and name in ("bands", "rows"):
            return False  # they follow from it
        return name not in foreign_keys(section.kind)
    if isinstance(section, ReplaceConfig):
        return value is not None
    if isinstance(section, TokenizerConfig):
        return value is not None and not (section.load is not None and name in TRAIN_ONLY)
    if isinstance(section, TrainConfig):
        return name != "save_every_steps" or section.checkpoints is None
    return True


def _value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _tree(value)
    if isinstance(value, Mapping):
        return {name: _value(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_value(inner) for inner in value]
    return value


def _lines(tree: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        head = f"{indent}{_scalar(key)}:"
        flow = _flow(value)
        if not value or not isinstance(value, dict | list) or (_is_flat(value) and len(head) + len(flow) < _MAX_FLOW):
            yield f"{head} {flow}"
        elif isinstance(value, dict):
            yield head
            yield from _lines(value, indent + "  ")
        else:
            yield head
            yield from (f"{indent}  - {_flow(item)}" for item in value)


def _is_flat(value: Any) -> bool:
    """A list without lists or mappings in it: short ones fit on a line. Mappings get a line a key."""
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"a recipe holds finite numbers only, found {value}")
        return repr(value)
    if not isinstance(value, str):
        raise TypeError(f"a recipe holds text, numbers, lists and mappings only, found {type(value).__name__}")
    if _PLAIN.fullmatch(value) and scalar_of(value) == value and value.lower() not in _OLD_BOOLS:
        return value
    return '"' + "".join(_character(c) for c in value) + '"'


def _character(c: str) -> str:
    """As itself where YAML reads it back unchanged, else as an escape (line breaks of YAML 1.1 included)."""
    if c in _ESCAPES:
        return _ESCAPES[c]
    code = ord(c)
    if 0x20 <= code < 0x7F or (code >= 0xA0 and c.isprintable()):
        return c
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
