"""Presets: published rules under one name, each a YAML file with what a filter needs.

There are three ways in: the files of `pipelines/rules`, a path (`./my_rules.yaml`), and the entry-point group
`dolma_pipeline.presets` of installed distributions, whose values are packages that hold such files. A preset is called
like its file. It is read on the launcher alone: what it means is written into the recipe (`config.preset_rules`).
Cost: some milliseconds, where a recipe names one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dolma_pipeline.config.keys import Key
from dolma_pipeline.config.overrides import expand, name_taggers
from dolma_pipeline.config.recipe import ReplaceConfig, TaggerConfig
from dolma_pipeline.config.typed import build_section
from dolma_pipeline.config.yaml import Located, read_yaml
from dolma_pipeline.errors import ConfigError, UsageError, unknown_name

GROUP = "dolma_pipeline.presets"
"""Entry points of this group name packages with presets."""

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "rules"
"""Our own presets."""

_KIND = ("a preset", "`summary` and one of `where`, `remove` and `replace`")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetConfig:
    """The keys of a preset's file. Names in `where`, `remove` and `replace` are its rules; each is there once."""

    summary: Annotated[str, Key(purpose="what it is, in one line", at_least=1)]
    papers: Annotated[tuple[str, ...], Key(purpose="where rules and thresholds come from", one_or_more=True)] = ()
    taggers: Annotated[
        tuple[TaggerConfig, ...], Key(purpose="what the rules read; added to `tag.taggers`", shorthand="tagger")
    ] = ()
    where: Annotated[Mapping[str, str], Key(purpose="rule: SQL; all must be true")] = field(default_factory=dict)
    remove: Annotated[
        Mapping[str, tuple[str, ...]],
        Key(purpose="rule: span fields (ATTRIBUTE.FIELD) whose text is cut out", one_or_more=True),
    ] = field(default_factory=dict)
    replace: Annotated[Mapping[str, ReplaceConfig], Key(purpose="rule: spans, and what stands there instead")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset that was read.

    Args:
        name: its rules are called `name.rule`. config: what its file says.
        origin: dotted key of the file (`where.words`) -> its place.
        path: of the file, as errors show it.
    """

    name: str
    config: PresetConfig
    origin: Mapping[str, str]
    path: str

    @property
    def rules(self) -> list[str]:
        """The full names of all that it does: conditions, then what it removes, then what it replaces."""
        return [self.full(rule) for rule in (*self.config.where, *self.config.remove, *self.config.replace)]

    def full(self, rule: str) -> str:
        """The name of one of its rules in a recipe."""
        return f"{self.name}.{rule}"


def read_preset(preset: str) -> Preset:
    """The preset of this name, or in the file of this path.

    Args:
        preset: a name (`gopher`), or a path that ends in .yaml or has a slash in it; `~` is expanded.

    Raises:
        ConfigError: no such preset or file, or something in it is wrong; names file, line and key.
        UsageError: an installed package whose presets cannot be found, or have names that are taken.
    """
    if "/" in preset or preset.endswith(_ENDINGS):
        path = os.path.expanduser(preset)
        return _read(Path(path).stem, path, preset)
    known = _known()
    if preset not in known:
        hint = "Your own: a path, such as ./my_rules.yaml."
        if any(Path(f"{preset}{ending}").is_file() for ending in _ENDINGS):
            hint = f"There is a file of that name: write ./{preset}.yaml."
        raise ConfigError(unknown_name("preset", preset, known, hint=hint))
    return _read(preset, *known[preset])


def preset_names() -> list[str]:
    """All presets that have a name: ours and those of installed distributions, sorted."""
    return sorted(_known())


def _read(name: str, path: str, shown: str) -> Preset:
    tree = read_yaml(path, name=shown, kind=_KIND)
    expand(tree, PresetConfig)
    assert isinstance(tree.value, dict)
    name_taggers(tree.value.get("taggers"))
    config, origin = build_section(PresetConfig, tree)
    preset = Preset(name, config, origin, shown)
    _check(preset, tree)
    return preset


def _check(preset: Preset, tree: Located) -> None:
    config = preset.config
    if not _NAME.fullmatch(preset.name):
        raise ConfigError(f"{preset.path}: a preset is called like its file: letters, digits, - and _, a letter first")
    if not preset.rules:
        raise ConfigError(f"{preset.path}:1: has no rules; {_KIND[0]} needs at least {_KIND[1]}")
    seen: dict[str, str] = {}
    for key, rules in (("where", config.where), ("remove", config.remove), ("replace", config.replace)):
        for rule in rules:
            place = f"{preset.origin[f'{key}.{rule}']}: {key}.{rule}"
            if not _NAME.fullmatch(rule):
                raise ConfigError(f"{place}: a rule's name has letters, digits, - and _ only, a letter first")
            if rule in seen:
                raise ConfigError(f"{place}: `{seen[rule]}` has a rule '{rule}' too; rename one of the two")
            seen[rule] = key
            if key == "where" and not config.where[rule].strip():
                raise ConfigError(f"{place}: found nothing, expected SQL that is true for what stays")
    said = " ".join(reads_of(config).values())
    for i, use in enumerate(config.taggers):
        if not names(said, use.name):
            raise ConfigError(f"{preset.origin[f'taggers.{i}']}: taggers.{i}: no rule reads '{use.name}'; leave it out")


def reads_of(config: PresetConfig) -> dict[str, str]:
    """Rule -> all that it reads, as text: its SQL, or its span fields."""
    removed = {rule: " ".join(fields) for rule, fields in config.remove.items()}
    return {**config.where, **removed, **{rule: one.spans for rule, one in config.replace.items()}}


def names(text: str, attribute: str) -> bool:
    """Whether an attribute is named in SQL or span fields."""
    return re.search(rf"(?<![\w.]){re.escape(attribute)}(?!\w)", text) is not None


@functools.cache
def _known() -> dict[str, tuple[str, str]]:
    """Name -> path of the file, and what errors call it."""
    known: dict[str, tuple[str, str]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        known[path.stem] = (str(path), f"pipelines/rules/{path.name}")
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        for path in _files(point):
            shown = f"{point.value}/{path.name}"
            if path.stem in known:
                raise UsageError(f"two presets are called '{path.stem}': {known[path.stem][1]} and {shown}; rename one")
            known[path.stem] = (str(path), shown)
    return known


def _files(point: Any) -> Iterator[Path]:
    """The presets of an entry point."""
    distribution = point.dist.name if point.dist is not None else "an unknown distribution"
    what = f"entry point '{point.name}' of {distribution} ({GROUP})"
    try:
        found = importlib.util.find_spec(point.value)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"{what}: there is no package '{point.value}' that could hold presets")
    files = [path for place in found.submodule_search_locations for path in sorted(Path(place).glob("*.yaml"))]
    if not files:
        raise UsageError(f"{what}: the package '{point.value}' holds no NAME.yaml")
    yield from files
