"""What is to be tried: `--what-if`, in the words of the recipe.

words: gopher_v1.word_count >= 100            a rule of that name keeps its place; a new one goes last
words:                                        there is no such rule
mix.sources.web.where.stars: chars > 9        the rule of one source, where its name alone does not tell
mix.target_tokens=20M, seed=4, …              anything below `mix`, and the seed, as KEY=VALUE
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from dolma_pipeline.config import resolved, resolved_yaml
from dolma_pipeline.config.checks import check_recipe
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.overrides import is_override
from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig, Recipe
from dolma_pipeline.errors import ConfigError, DataError, UsageError, unknown_name
from dolma_pipeline.stages.rules import mix_config, split_rules

WHERE = "mix.where"
_OPTION = "--what-if"
_WRITTEN = "recipe"
"""What the recipe is called when it is written out and read again; none of its lines is anywhere."""


@contextlib.contextmanager
def naming(changes: Sequence[str]) -> Iterator[None]:
    """An error within names the change, or all of them where it cannot be one of them alone."""
    try:
        yield
    except (UsageError, DataError) as error:
        text = str(error)
        if text.startswith(f"{_OPTION} '") or not changes:
            raise
        kind = next(kind for kind in (ConfigError, UsageError, DataError) if isinstance(error, kind))
        raise kind(f"{_OPTION} {', '.join(map(_quoted, changes))}: {text}") from error


def _quoted(change: str) -> str:
    """A change as it is typed, in quotes."""
    return f"'{change}'"


def changed(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with all changes, in their order.

    Args:
        changes: `RULE: SQL`, `RULE:` or `KEY=VALUE`.

    Raises:
        UsageError: a change that is neither, is of something else than `mix` and `seed`, or takes a rule away that is
            not there. ConfigError: a key or value that cannot be.
    """
    before = after = resolved(recipe)
    settings = [change for change in changes if _is_setting(before, change)]
    rules = [change for change in changes if change not in settings]
    # A setting may name a rule that is new. Rules of one text are called like their terms, as a recipe's are not.
    first = [] if _has_one_text(before) else rules
    for change in first:
        if settings:
            recipe = _as_written(recipe, after, change)
        after = _rule(after, change)
    if settings:  # of presets and of rules to skip, too: so they meet the recipe as it is written
        after = resolved(_settings(recipe, settings))
        for change in first:  # rules of presets, which stand in no recipe
            asked = _asked(mix_config(before), change)
            if asked.is_removed and asked.rule in _where(mix_config(after), asked.key):
                after = _put(after, asked, change)
    for change in rules if not first else []:
        after = _rule(after, change)
    after = replace(after, tag=before.tag)  # what was tagged is there
    with naming(changes):
        check_recipe(_with_plain_names(after, before))
    return resolved(after)


def _has_one_text(recipe: Recipe) -> bool:
    """Whether some rules of the recipe are written as one text."""
    mix = mix_config(recipe)
    return any(set(where) == {"where"} for where in (mix.where, *(own.where for own in mix.sources.values())))


def _with_plain_names(recipe: Recipe, before: Recipe) -> Recipe:
    """Rules that were one text, and are called like their terms, under names that a recipe may have: for its check."""
    mix, old = mix_config(recipe), mix_config(before)
    for key in [WHERE, *(f"mix.sources.{source}.where" for source in mix.sources)]:
        written = old.where if key == WHERE else old.sources.get(key.split(".")[2], MixSourceConfig()).where
        terms = list(split_rules(written)) if set(written) == {"where"} else []
        where = {f"term_{terms.index(n)}" if n in terms else n: sql for n, sql in _where(mix, key).items()}
        mix = _with(mix, key, where) if terms else mix
    return replace(recipe, mix=mix)


def _is_setting(recipe: Recipe, change: str) -> bool:
    """Whether a change is KEY=VALUE: a rule of a name that the recipe has is not, whatever its SQL is."""
    return is_override(change) and not any(change.startswith(f"{name}:") for name in _places(mix_config(recipe)))


def _as_written(recipe: Recipe, now: Recipe, change: str) -> Recipe:
    """A recipe whose presets are not written out, with a rule changed or, if it is its own, taken away.

    Args:
        now: the same with presets written out and changes before this one made, by which the change is understood.
    """
    asked = _asked(mix_config(now), change)
    own = _where(mix_config(recipe), asked.key)
    return _put(recipe, asked, change) if asked.sql or asked.rule in own else recipe


def _bare(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """A recipe without presets and rules to skip, and these as settings."""
    mix = mix_config(recipe)
    taken = {"mix.presets": mix.presets, "mix.skip_rules": mix.skip_rules}
    taken |= {f"mix.sources.{name}.skip_rules": own.skip_rules for name, own in mix.sources.items()}
    sources = {name: replace(own, skip_rules=()) for name, own in mix.sources.items()}
    bare = replace(mix, presets=(), skip_rules=(), sources=sources)
    settings = [f"{key}={json.dumps(names, ensure_ascii=False)}" for key, names in taken.items() if names]
    return replace(recipe, mix=bare), settings


def _settings(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with these keys set, all of them before it is checked; its presets are not written out."""
    for change in changes:
        key = change.partition("=")[0]
        if key != "seed" and not key.startswith("mix."):
            raise UsageError(
                f"--what-if '{change}': only `seed` and what is below `mix` can be tried on finished work; "
                f"'{key}' needs a run: dolma-pipeline run RECIPE {key}=… --redo."
            )
    sections = {name: type(section) for name, section in recipe.sections.items()}
    bare, own = _bare(recipe)
    try:
        after = recipe_from_text(resolved_yaml(bare), *own, *changes, name=_WRITTEN, sections=sections)
    except ConfigError as error:
        raise ConfigError(_told(str(error), recipe, changes, own)) from error
    origin = dict(recipe.origin)
    for change in changes:
        origin |= {key: f"--what-if '{change}'" for key in after.origin if key.startswith(change.partition("=")[0])}
    return replace(after, origin=origin)


def _told(text: str, recipe: Recipe, changes: Sequence[str], own: Sequence[str]) -> str:
    """An error of the recipe with these changes: the change stands first, and a key where the user wrote it.

    Args:
        own: what of the recipe was set as changes are.
    """
    for setting in own:
        if text.startswith(place := f"override '{setting}': "):
            key, _, told = text.removeprefix(place).partition(": ")
            text = f"{recipe.place(key)}: {told}"
    for change in changes:
        place = f"override '{change}': "
        if text.startswith(place):
            return f"{_OPTION} '{change}': {text.removeprefix(place)}"
    if found := re.match(rf"{_WRITTEN}:\d+: (?:([^\s:]+): )?", text):
        text = (f"{recipe.place(found[1])}: " if found[1] else "") + text[found.end() :]
    return f"{_OPTION} {', '.join(map(_quoted, changes))}: {text}"


class _Asked(NamedTuple):
    """What a change of a rule asks for: the key of the recipe that the rule stands under, its name there, its SQL."""

    key: str
    rule: str
    sql: str

    @property
    def is_removed(self) -> bool:
        """Whether there is to be no such rule."""
        return not self.sql


def _asked(mix: MixConfig, change: str) -> _Asked:
    """What a change says, by the names of the rules that there are."""
    places = _places(mix)
    named = max((name for name in places if change.startswith(f"{name}:")), key=len, default=None)
    name, colon, sql = (named, ":", change[len(named) + 1 :]) if named else change.partition(":")
    name, sql = name.strip(), sql.strip()
    if not colon or not name:
        raise UsageError(
            f"--what-if '{change}': expected 'RULE: SQL', 'RULE:' (without it), or KEY=VALUE such as "
            "mix.target_tokens=20M."
        )
    return _Asked(*_place(mix, name, change), sql)


def _rule(recipe: Recipe, change: str) -> Recipe:
    """The recipe with a rule changed, added or taken away."""
    mix = mix_config(recipe)
    asked = _asked(mix, change)
    if asked.is_removed and asked.rule not in (known := _where(mix, asked.key)):
        raise UsageError(f"--what-if '{change}': {unknown_name('rule', asked.rule, known)}")
    return _put(recipe, asked, change)


def _put(recipe: Recipe, asked: _Asked, change: str) -> Recipe:
    """The recipe with that rule."""
    mix, (key, rule, sql) = mix_config(recipe), asked
    before = _where(mix, key)
    where = {each: text for each, text in before.items() if each != rule or sql}
    if sql:
        where[rule] = sql
    mix = _with(mix, key, where)
    if key == WHERE and not sql:  # nothing is left to skip
        own = {
            name: replace(s, skip_rules=tuple(r for r in s.skip_rules if r != rule)) for name, s in mix.sources.items()
        }
        mix = replace(mix, sources=own)
    return replace(recipe, mix=mix, origin={**recipe.origin, f"{key}.{rule}": f"--what-if '{change}'"})


def _places(mix: MixConfig) -> dict[str, list[str]]:
    """How a rule may be named -> keys of the recipe that hold one of this name."""
    found: dict[str, list[str]] = {}
    keys = [WHERE, *(f"mix.sources.{source}.where" for source in mix.sources)]
    for key in keys:
        for rule in _where(mix, key):
            found.setdefault(rule, []).append(key)
            found.setdefault(f"{key}.{rule}", []).append(key)
    return found


def _place(mix: MixConfig, name: str, change: str) -> tuple[str, str]:
    """The key of the recipe that a rule stands under, and its name there."""
    for key in [WHERE, *(f"mix.sources.{source}.where" for source in mix.sources)]:
        if name.startswith(f"{key}."):
            return key, name[len(key) + 1 :]
    if name.startswith("mix.sources."):
        source, dot, rest = name.removeprefix("mix.sources.").partition(".")
        if dot and rest.startswith("where."):
            return f"mix.sources.{source}.where", rest.removeprefix("where.")
    places = _places(mix).get(name, [WHERE])
    if len(places) > 1:
        raise UsageError(
            f"--what-if '{change}': {len(places)} rules are called '{name}'; say which: "
            + ", ".join(f"{key}.{name}" for key in places)
            + "."
        )
    return places[0], name


def _where(mix: MixConfig, key: str) -> Mapping[str, str]:
    if key == WHERE:
        return split_rules(mix.where)
    source = key.removeprefix("mix.sources.").removesuffix(".where")
    return split_rules(mix.sources.get(source, MixSourceConfig()).where)


def _with(mix: MixConfig, key: str, where: Mapping[str, str]) -> MixConfig:
    if key == WHERE:
        return replace(mix, where=where)
    source = key.removeprefix("mix.sources.").removesuffix(".where")
    own = replace(mix.sources.get(source, MixSourceConfig()), where=where)
    return replace(mix, sources={**mix.sources, source: own})
