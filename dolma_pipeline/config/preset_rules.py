"""What a recipe's presets mean: the same recipe with their rules, edits and taggers written out, and no presets.

What the recipe states takes the place of what a preset says under the same name: a rule of `mix.where` called
`gopher.words`, a use of a tagger called `gopher_v1`, a replacement of the same spans. Rules keep the order of the
presets, before the recipe's own. What a preset removes or replaces becomes that of each source, as far as the source
does not skip it. All of it has the place of the preset's line in `origin`. Cost: the presets' files are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dolma_pipeline.config.presets import Preset, names, read_preset, reads_of
from dolma_pipeline.config.recipe import (
    MixConfig,
    MixSourceConfig,
    Recipe,
    ReplaceConfig,
    TagConfig,
    TaggerConfig,
    fail,
)
from dolma_pipeline.errors import ConfigError, unknown_name


def with_presets(recipe: Recipe) -> Recipe:
    """The recipe with the rules of its presets written out; the same recipe where there is nothing to write.

    Raises:
        ConfigError: a preset that cannot be read or does not fit the recipe, or a rule to skip that is not there; says
            key, place and what to do.
    """
    for section, mix in recipe.mixes().items():
        if mix.presets or mix.skip_rules or any(own.skip_rules for own in mix.sources.values()):
            recipe = _Written(recipe, section, mix).recipe()
    return recipe


@dataclass
class _Written:
    """One mix, whose presets are being written out.

    Attributes:
        presets: in the order of the recipe.
        where: rule -> SQL, of presets that are not skipped, then the recipe's own.
        edits: rules of presets that remove or replace, not skipped everywhere -> what they do, and its place.
        origin: places of what is added, by dotted key.
    """

    before: Recipe
    section: str
    mix: MixConfig
    presets: list[Preset] = field(init=False)
    where: dict[str, str] = field(init=False)
    edits: dict[str, tuple[tuple[str, ...] | ReplaceConfig, str]] = field(init=False)
    origin: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.presets = [self._read(i, name) for i, name in enumerate(self.mix.presets)]
        self._check_names()
        of_presets = [rule for preset in self.presets for rule in preset.rules]
        skipped = self._skipped(f"{self.section}.skip_rules", self.mix.skip_rules, of_presets, what="of a preset")
        for rule in self.mix.where:
            if rule in skipped:
                self._fail(f"where.{rule}", f"`{self.section}.skip_rules` skips '{rule}' too; keep one of the two")
        self.where, self.edits = {}, {}
        for preset in self.presets:
            self._add(preset, skipped)
        self.where |= self.mix.where

    def recipe(self) -> Recipe:
        """The recipe with this mix written out."""
        sources = {name: self.mix.sources.get(name) for name in (*self.mix.sources, *self.before.sources)}
        written = {name: self._source(name, own) for name, own in sources.items()}
        kept = {name: own for name, own in written.items() if own is not None}
        mix = replace(self.mix, presets=(), skip_rules=(), where=self.where, sources=kept)
        tag = self._tag()
        origin = {**self.before.origin, **self.origin}
        if self.section == "mix":
            return replace(self.before, mix=mix, tag=tag, origin=origin)
        return replace(self.before, sections={**self.before.sections, self.section: mix}, tag=tag, origin=origin)

    def _fail(self, key: str, message: str) -> None:
        raise fail(self.before, f"{self.section}.{key}", message)

    def _read(self, i: int, name: str) -> Preset:
        try:
            return read_preset(name)
        except ConfigError as error:
            key = f"{self.section}.presets.{i}"
            raise ConfigError(f"{self.before.place(key)}: {error}") from error

    def _check_names(self) -> None:
        """Presets have names of their own, and rules that the recipe sets in their place are rules of theirs."""
        known: dict[str, Preset] = {}
        for i, preset in enumerate(self.presets):
            if preset.name in known:
                message = f"{known[preset.name].path} and {preset.path} are both called '{preset.name}'; keep one"
                self._fail(f"presets.{i}", message)
            known[preset.name] = preset
        if known and set(self.mix.where) == {"where"}:
            self._fail("where", "is one text, which has no names beside presets; write it as a mapping of rule to SQL")
        for rule in self.mix.where:
            name, dot, short = rule.partition(".")
            if dot and name in known and short not in known[name].config.where:
                message = unknown_name(f"condition of the preset {name}", short, known[name].config.where)
                self._fail(f"where.{rule}", message)

    def _skipped(self, key: str, asked: Iterable[str], rules: Iterable[str], *, what: str = "") -> dict[str, None]:
        """The rules that a `skip_rules` names, by their own names or by that of their preset."""
        rules = [*rules]
        found: dict[str, None] = {}
        for i, one in enumerate(asked):
            named = [rule for rule in rules if one == rule or rule.startswith(f"{one}.")]
            if not named:
                hint = "" if rules else f"Rules that hold for every source stand in `{self.section}.where`."
                presets = {rule.partition(".")[0] for rule in rules if "." in rule}
                message = unknown_name(f"rule {what}".rstrip(), one, [*presets, *rules], hint=hint)
                raise fail(self.before, f"{key}.{i}", message)
            if found.keys() >= {*named}:
                raise fail(self.before, f"{key}.{i}", f"'{one}' is skipped by what stands before it; leave it out")
            found |= dict.fromkeys(named)
        return found

    def _add(self, preset: Preset, skipped: Mapping[str, None]) -> None:
        config = preset.config
        for rule, sql in config.where.items():
            full = preset.full(rule)
            if full not in skipped:
                self.where[full] = sql
                if full not in self.mix.where:
                    self.origin[f"{self.section}.where.{full}"] = preset.origin[f"where.{rule}"]
        edits = (("remove", config.remove), ("replace", config.replace))
        for key, rules in edits:
            for rule, edit in rules.items():
                if preset.full(rule) not in skipped:
                    self.edits[preset.full(rule)] = (edit, preset.origin[f"{key}.{rule}"])

    def _source(self, name: str, own: MixSourceConfig | None) -> MixSourceConfig | None:
        """The section of a source with the edits that it does not skip; None: there is nothing to say."""
        given = own or MixSourceConfig()
        key = f"{self.section}.sources.{name}"
        if given.skip_rules and set(self.mix.where) == {"where"}:
            message = f"the rules of `{self.section}.where` have no names to skip; write it as a mapping of rule to SQL"
            raise fail(self.before, f"{key}.skip_rules", message)
        skipped = self._skipped(f"{key}.skip_rules", given.skip_rules, (*self.where, *self.edits))
        remove, put = [*given.remove], [*given.replace]
        stated = {one.spans for one in (*self.mix.replace, *given.replace)}
        for rule, (edit, place) in self.edits.items():
            if rule in skipped:
                continue
            if isinstance(edit, ReplaceConfig):
                if edit.spans not in stated and edit not in put:
                    self.origin[f"{key}.replace.{len(put)}"] = place
                    put.append(edit)
                continue
            for spans in edit:
                if spans not in remove:
                    self.origin[f"{key}.remove.{len(remove)}"] = place
                    remove.append(spans)
        rules = tuple(rule for rule in skipped if rule in self.where)
        written = replace(given, remove=tuple(remove), replace=tuple(put), skip_rules=rules)
        return None if own is None and written == given else written

    def _tag(self) -> TagConfig | None:
        """The recipe's taggers, then those that rules of presets read and that are not there."""
        tag = self.before.tag
        uses = {use.name: use for use in tag.taggers} if tag else {}
        of_preset: dict[str, Preset] = {}
        for preset in self.presets:
            reads = reads_of(preset.config)
            said = [reads[rule] for rule in reads if preset.full(rule) in {*self.where, *self.edits}]
            for i, use in enumerate(preset.config.taggers):
                if not names(" ".join(said), use.name):
                    continue
                self._check_use(preset, preset.origin[f"taggers.{i}"], use, uses, of_preset)
                if use.name not in uses:
                    self.origin[f"tag.taggers.{len(uses)}"] = preset.origin[f"taggers.{i}"]
                    uses[use.name], of_preset[use.name] = use, preset
        added = tuple(uses[name] for name in of_preset)
        if not added:
            return tag
        return replace(tag, taggers=(*tag.taggers, *added)) if tag else TagConfig(taggers=added)

    def _check_use(
        self, preset: Preset, place: str, use: TaggerConfig, uses: Mapping[str, TaggerConfig], by: Mapping[str, Preset]
    ) -> None:
        there = uses.get(use.name)
        if there is None or there == use or (there.tagger == use.tagger and use.name not in by):
            return
        if there.tagger != use.tagger:
            raise ConfigError(
                f"{place}: the preset {preset.name} reads '{use.name}' of the tagger {use.tagger}, but the recipe has "
                f"{there.tagger} under this name; give that use another `name`"
            )
        raise ConfigError(
            f"{place}: the presets {by[use.name].name} and {preset.name} want {use.tagger} with other parameters; say "
            f"in `tag.taggers` which: what the recipe says of '{use.name}' holds for both"
        )
