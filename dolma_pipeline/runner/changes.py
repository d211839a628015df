"""What differs between the settings that units were made with and those of now, each once, in the recipe's words.

One `mix.where.words` is among the settings of every source of every unit that judges documents; it is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from dolma_pipeline.config.recipe import MixSourceConfig

PER_SOURCE = {"remove": [], "min_chars": 0}
"""Settings of the tokenizer's sample for each source, and what they are where a source has none."""


class Made(NamedTuple):
    """A unit's settings: `before`, when it was made, and `now`. stage, name: of the unit."""

    stage: str
    name: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]


class Change(NamedTuple):
    """One difference: the way to it in a unit's settings, and its values; None where there is nothing."""

    path: tuple[str, ...]
    old: Any
    new: Any


def recipe_changes(units: Sequence[Made]) -> list[str]:
    """`key: old -> new` for each difference, in the order of the units; `key` is the recipe's.

    Args:
        units: what is compared. The unit of `mix` among them tells rules of one source from those of all.
    """
    mixes = [one for one in units if one.stage == "mix"]
    own = [
        {source: dict(settings) for source, settings in config.get("sources", {}).items()}
        for one in mixes
        for config in (one.before, one.now)
    ]
    lines = [line for unit in units for change in _walk(unit.before, unit.now) for line in _lines(unit, change, own)]
    return list(dict.fromkeys(lines))


def _walk(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    if path[:1] == ("sources",) and len(path) == 2:  # left out of the recipe: all defaults
        defaults = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(MixSourceConfig()).items()}
        old, new = defaults | (old or {}), defaults | (new or {})
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _walk(old.get(name), new.get(name), (*path, str(name)))
    elif old != new:
        yield Change(path, old, new)


def _lines(unit: Made, change: Change, own: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The difference as the recipe has it: mostly one line, none where another setting says it."""
    path, old, new = change
    label, top, *rest = unit.name.rpartition("/")[2], *path
    if top in ("normalize", "seed"):
        yield _line(top, old, new)
    elif top == "fields":
        yield _line(".".join(["sources", rest[0], "fields", *rest[1:]]) if rest else "sources: fields", old, new)
    elif top == "attributes":
        yield "sources: attributes: other files" if not rest else f"sources.{rest[0]}.attributes: other files"
    elif top in ("where", "rules") and unit.stage in ("mix", "tokenizer", "dedupe"):
        yield from _rule_lines(change, own)
    elif top == "mixer_file":
        yield "modules: the file of the mixer was changed"
    elif top == "rule_order":
        if old and new and sorted(old) == sorted(new):
            yield _line("mix.where: order", old, new)
    elif top == "lengths":
        yield from _length_lines(change, own)
    elif unit.stage == "tag":
        yield _tag_line(label, change)
    elif unit.stage == "dedupe" and top == "prefer":
        yield _line("dedupe.prefer", old, new)
    elif unit.stage == "dedupe" and top == "earlier":
        yield _line(f"dedupe.steps: before {label}", old, new)
    elif unit.stage == "dedupe":
        yield _line(".".join(["dedupe.steps", label, *path]), old, new)
    elif unit.stage == "tokenizer" and top == "replace":
        yield _line("mix.replace", old, new)
    elif unit.stage == "tokenizer" and top in PER_SOURCE:
        if rest and (old or PER_SOURCE[top]) != (new or PER_SOURCE[top]):
            yield _line(f"mix.sources.{rest[0]}.{top}", old or PER_SOURCE[top], new or PER_SOURCE[top])
    elif (unit.stage, top) in (("tokenizer", "load"), ("eval", "tasks")) and old and new:
        yield f"{unit.stage}.{'.'.join(path)}: other content"
    else:
        yield _line(".".join([unit.stage, *path]), old, new)


def _rule_lines(change: Change, own: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    (_, *rest), old, new = change
    if len(rest) < 2:
        for source in rest or sorted({*(old or {}), *(new or {})}):
            yield f"sources.{source}: {'is new' if not old else 'is gone'}"
        return
    source, rule = rest[0], ".".join(rest[1:])
    mine = [config.get(source, {}) for config in own]
    skipped = [rule in settings.get("skip_rules", ()) for settings in mine]
    if any(skipped) and not all(skipped):
        return  # `skip_rules` says it
    if any(rule in settings.get("where", {}) for settings in mine):
        yield _line(f"mix.sources.{source}.where.{rule}", old, new)
    elif (old or new) in (rule, f"({rule})"):  # a term of a `where` of one string is called like its text
        yield _line("mix.where", old and rule, new and rule)
    else:
        yield _line(f"mix.where.{rule}", old, new)


def _length_lines(change: Change, own: Sequence[object]) -> Iterator[str]:
    """`min_chars`, and edits where it counts what they leave; those are said by the mix, if it is there."""
    (_, *rest), old, new = change
    if len(rest) == 1:
        before, now = ((one or {}).get("min_chars", 0) for one in (old, new))
        yield _line(f"mix.sources.{rest[0]}.min_chars", before, now)
    elif rest and rest[1] == "min_chars":
        yield _line(f"mix.sources.{rest[0]}.min_chars", old, new)
    elif rest and not own:
        yield _line(f"mix.replace or mix.sources.{rest[0]}.remove", old, new)


def _tag_line(label: str, change: Change) -> str:
    (top, *rest), old, new = change
    if top == "format":
        return _line("tag.format", old, new)
    if top == "file":
        return f"modules: the file of {label} was changed"
    if top == "assets":
        return f"tag.taggers.{label}: another model{' ' + rest[0] if rest else ''}"
    return _line(".".join(["tag.taggers", label, *(rest if top == "parameters" else [top, *rest])]), old, new)


def _line(key: str, old: Any, new: Any) -> str:
    return f"{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "(nothing)"
    return str(value).lower() if isinstance(value, bool) else repr(value)
