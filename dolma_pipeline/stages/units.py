"""Units: what a recipe makes, each a folder that is done or redone as a whole.

A unit's digest says what its bytes depend on: its settings with their defaults, hashes of models and of the
user's tagger files, and the digests of the units it needs. Versions, workers, runner and output folder are not in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dolma_pipeline import assets
from dolma_pipeline.config.recipe import MixConfig, Recipe
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.io.paths import sha256_file
from dolma_pipeline.registry import declared_by, mixer_spec
from dolma_pipeline.sql.columns import RESERVED
from dolma_pipeline.stages.columns import given_columns, given_files
from dolma_pipeline.stages.context import RunContext, sources_of
from dolma_pipeline.stages.rules import preferred, rule_names, source_rules, where_of


@dataclass(frozen=True)
class Unit:
    """A folder of the run with one manifest.

    name: of the folder, such as `attributes/gopher_v1`. stage: of the recipe. config: what its bytes depend on.
    needs: unit -> digest. growing: new shards can be added to what is done; else new shards mean doing it again.
    """

    name: str
    stage: str
    config: Mapping[str, Any]
    needs: Mapping[str, str]
    growing: bool = False

    @property
    def digest(self) -> str:
        """Hash of the settings and of what is needed."""
        return digest({"stage": self.stage, "name": self.name, "config": self.config, "needs": self.needs})

    def manifest_fields(self, context: RunContext) -> dict[str, Any]:
        """What a manifest says of the unit beside its counts."""
        return {
            "stage": self.stage,
            "digest": self.digest,
            "config": self.config,
            "needs": {**self.needs, "shards.jsonl": shards_digest(context)},
        }


def shards_digest(context: RunContext) -> str:
    """Hash of the run's list of shards."""
    return "sha256:" + sha256_file(context.path / "shards.jsonl")


def units_of(context: RunContext) -> list[Unit]:
    """All units of a run, in the order in which they are made; those of `train` and `eval` are not among them."""
    recipe = context.recipe
    units: dict[str, Unit] = {}

    def add(
        name: str, stage: str, config: Mapping[str, Any], needs: Sequence[str] = (), *, growing: bool = False
    ) -> None:
        units[name] = Unit(name, stage, config, {n: units[n].digest for n in sorted(set(needs)) if n in units}, growing)

    reading = _reading(recipe)
    if recipe.tag:
        files = {module.name: module.sha256 for module in context.modules if module.kind == "file"}
        for use in recipe.tag.taggers:
            tagger = context.tagger(use)
            config = {
                **reading,
                "tagger": use.tagger,
                "parameters": _plain(tagger.parameters),
                "assets": {name: assets.ASSETS[name].sha256 for name in tagger.assets if name in assets.ASSETS},
                "format": recipe.tag.format,
            }
            place = tagger.spec.place  # `file:line`, or the file alone
            if (file := place if place in files else place.rpartition(":")[0]) in files:
                config["file"] = files[file]
            add(f"attributes/{use.name}", "tag", config, growing=True)
    if recipe.dedupe:
        _add_dedupe(context, reading, add)
    if recipe.tokenizer:
        _add_tokenizer(context, add)
    if recipe.mix:
        config = {
            **_plain(asdict(recipe.mix)),
            **reading,
            "seed": recipe.seed,
            "sources": _plain(asdict(recipe.mix))["sources"],
            "replace": _replacements(recipe.mix),
        }
        config["where"] = {source: where_of(recipe.mix, source) for source in sorted(recipe.sources)}
        config["rule_order"] = {source: rule_names(recipe.mix, source) for source in sorted(recipe.sources)}
        if own := declared_by(mixer_spec(recipe.mix.mixer.name).module, context.modules):
            config["mixer_file"] = own.sha256
        config |= _given(context, _mix_columns(context))
        needs = [f"attributes/{column}" for column in _mix_columns(context)]
        needs += [f"attributes/{step.name}" for step in (recipe.dedupe.steps if recipe.dedupe else ())]
        add("mix", "mix", config, [*needs, "tokenizer"])
    if recipe.tokens:
        columns = [name.split(".")[0] for name in recipe.tokens.keep_attributes]
        config = {**_plain(asdict(recipe.tokens)), "seed": recipe.seed, **_given(context, columns)}
        add("tokens", "tokens", config, ["mix", "tokenizer", *(f"attributes/{column}" for column in columns)])
    return list(units.values())


def _replacements(mix: MixConfig) -> list[dict[str, str]]:
    """`mix.replace` in the words of the recipe."""
    return [{"spans": one.spans, "with": one.with_} for one in mix.replace]


def _reading(recipe: Recipe) -> dict[str, Any]:
    fields = {name: dict(source.fields) for name, source in sorted(recipe.sources.items()) if source.fields}
    return {
        **({"normalize": list(recipe.normalize)} if recipe.normalize else {}),
        **({"fields": fields} if fields else {}),
    }


def _given(context: RunContext, columns: Collection[str]) -> dict[str, Any]:
    """The attribute files that sources bring along, by size, where some of these columns are in them."""
    found = {}
    for source in sources_of(context.shards()):
        if set(given_columns(context, source)) & set(columns):
            found[source] = digest([[path.name, path.stat().st_size] for path in given_files(context, source)])
    return {"attributes": found} if found else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _add_dedupe(context: RunContext, reading: Mapping[str, Any], add: Any) -> None:
    config = context.recipe.dedupe
    assert config is not None
    for step in config.steps:
        settings: dict[str, Any] = {"kind": step.kind, "key": step.key}
        if step.kind == "minhash":
            settings |= {"shingle": step.shingle, "bands": step.bands, "rows": step.rows}
        add(f"dedupe/{step.name}", "dedupe", {**reading, **settings}, growing=True)
    names = [step.name for step in config.steps]
    for i, step in enumerate(config.steps):
        rules: dict[str, dict[str, str]] = {}
        lengths: dict[str, Any] = {}
        columns: set[str] = set()
        for source in sorted(context.recipe.sources):
            if context.recipe.mix and source in sources_of(context.shards()):
                bound = source_rules(context, source, without=tuple(names))
                rules[source] = dict(bound.rules.where)
                columns |= set(bound.judge_columns)
                if bound.min_chars:
                    edits = [[f"{c}.{field}", new and new.decode()] for c, field, new in bound.edits]
                    lengths[source] = {"min_chars": bound.min_chars, "edits": edits}
        columns |= set(prefer_columns(context))
        needs = [f"dedupe/{step.name}", *(f"attributes/{c}" for c in sorted(columns))]
        needs += [f"attributes/{name}" for name in names[:i]]
        electing = {"prefer": list(config.prefer), "rules": rules, "lengths": lengths, "earlier": names[:i]}
        add(f"attributes/{step.name}", "dedupe", {**electing, **_given(context, columns)}, needs)


def prefer_columns(context: RunContext) -> list[str]:
    """Attribute columns that `dedupe.prefer` reads.

    Raises:
        ConfigError: an order that cannot be bound in some source.
    """
    assert context.recipe.dedupe is not None
    found: set[str] = set()
    for source in sources_of(context.shards()):
        found |= set(preferred(context, source).columns) - set(RESERVED)
    return sorted(found)


def _mix_columns(context: RunContext) -> list[str]:
    found: set[str] = set()
    for source in sources_of(context.shards()):
        found |= set(source_rules(context, source).columns)
    return sorted(found)


def _add_tokenizer(context: RunContext, add: Any) -> None:
    recipe = context.recipe
    assert recipe.tokenizer is not None
    config = _plain(asdict(recipe.tokenizer))
    if recipe.tokenizer.load:
        from pathlib import Path

        add(
            "tokenizer",
            "tokenizer",
            {"load": sha256_file(Path(recipe.tokenizer.load)), "special_tokens": config["special_tokens"]},
        )
        return
    del config["load"]
    config = {**_reading(recipe), **config, "seed": recipe.seed}
    if recipe.mix:
        config["where"] = {source: where_of(recipe.mix, source) for source in sorted(recipe.sources)}
        config["replace"] = _replacements(recipe.mix)
        config["remove"] = {name: list(own.remove) for name, own in sorted(recipe.mix.sources.items())}
        config["min_chars"] = {name: own.min_chars for name, own in sorted(recipe.mix.sources.items())}
    columns = _mix_columns(context) if recipe.mix else []
    config |= _given(context, columns)
    add("tokenizer", "tokenizer", config, [f"attributes/{column}" for column in columns])
