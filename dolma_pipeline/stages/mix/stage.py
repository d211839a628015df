"""How a mix is put together: verdicts, then sizes, plan and what was chosen. See `mixes` for several of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig, Recipe
from dolma_pipeline.config.resolve import resolved_mix
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.registry import load_mixer, mixer_spec
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, read_lines
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import names
from dolma_pipeline.run.stage import Stage, at, module_files
from dolma_pipeline.stages.asked import asked_artifact, asked_steps
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.encode import Encoding, ids_digest
from dolma_pipeline.stages.mix.decide import Decide
from dolma_pipeline.stages.mix.plan import Plan
from dolma_pipeline.stages.mix.planning import MixPlan, budget_of
from dolma_pipeline.stages.mix.write import Writing
from dolma_pipeline.stages.mixes import MIX, asked_of, hidden_stage, judged_of, reading_of, verdicts_of
from dolma_pipeline.stages.reads import edit_reads, given_reads, rule_reads, united
from dolma_pipeline.stages.rules import MIN_CHARS, mix_config, source_rules, used_sources
from dolma_pipeline.stages.tokenizer import edit_columns

OWNED = ("selected", "documents", "held_out", "plan.json", "manifest.json", "shards.jsonl")
"""What the artifact of a mix holds in its folder; the verdicts lie there, too."""


TEXTS = ("documents", "held_out")
"""Those of them that hold edited documents."""


class VerdictStage(Stage):
    """All rules of a mix of all documents; it has no section and no command of its own.

    Args:
        mix: the name of the mix.
    """

    summary = "what each rule says of each document"

    def __init__(self, mix: str = MIX) -> None:
        self.mix = mix
        self.name = hidden_stage("verdicts", mix)
        # Whatever must come before the verdicts of the mix `mix` (columns that rules name) comes before these, too.
        self.after = ("index", "tag", "judge", "dedupe") if mix == MIX else (hidden_stage("judge", mix), "verdicts")

    def used(self, process: Process) -> bool:
        """Where the recipe has the mix."""
        return self.mix in process.run.recipe.mixes()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`<mix>/verdicts`."""
        recipe, mix = process.run.recipe, self.mix
        rules = {source: source_rules(process, source, mix) for source in used_sources(process)}
        asked = asked_artifact(process, known, "late", {source: one.late for source, one in rules.items()}, mix)
        columns = sorted({c for source, one in rules.items() for c in one.columns_of(one.names)})
        named = {source: one.names for source, one in rules.items()}
        edits = edit_reads(process, mix) if any(MIN_CHARS in one.late for one in rules.values()) else ({}, {})
        reads, own = united(rule_reads(process, named, mix), edits, given_reads(process, columns))
        steps = [step.name for step in electing_steps(recipe)]
        wanted = ["index", judged_of(mix), *(f"attributes/{c}" for c in [*columns, *steps])]
        needs = {name: known[name] for name in wanted if name in known}
        if asked:
            needs[asked.name] = asked
        name = verdicts_of(mix)
        verdicts = Artifact(name, mix, reads, own, needs=tuple(needs.values()), root=mix, owns=(name, f"{mix}/dropped"))
        return [*([asked] if asked else []), verdicts]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """One phase."""
        found = asked_steps(process, "late", left, self.mix)
        if verdicts := left.get(verdicts_of(self.mix)):
            judged, asked = known[judged_of(self.mix)], known.get(asked_of("late", self.mix))
            found.append(Decide((verdicts,), judged, asked, self.mix))
        return found


class MixStage(Stage):
    """Sample to a budget.

    Args:
        mix: the name of the mix. tokens: the stage that makes token parts of it; "" if there is none.
    """

    summary = "filter, mask, sample to a budget"

    def __init__(self, mix: str = MIX, tokens: str = "tokens") -> None:
        self.name, self.tokens = mix, tokens
        self.after = (hidden_stage("verdicts", mix), "tokenizer", *([MIX] if mix != MIX else []))
        self.readings = tuple(reading_of(reading, mix) for reading in ("ask", "encode", "write"))
        self.section = None if mix == MIX else MixConfig

    def resolved(self, recipe: Recipe) -> Recipe:
        """With `documents` and the bound of `held_out`."""
        tokens = self.tokens in recipe.token_sections()
        mix = resolved_mix(recipe.mixes()[self.name], tokens=tokens, tokenizer=recipe.tokenizer is not None)
        return dataclasses.replace(recipe, sections={**recipe.sections, self.name: mix})

    def check(self, process: Process) -> Sequence[str]:
        """Rules, edits and the mixer must exist; weights need a budget."""
        recipe, section = process.run.recipe, self.name
        mix = mix_config(recipe, section)
        for source in used_sources(process):
            source_rules(process, source, section)
        with at(recipe, f"{section}.mixer"):
            load_mixer(mix.mixer.name, **mix.mixer.parameters)
        weighted = [name for name, own in mix.sources.items() if own.weight is not None]
        if weighted and budget_of(mix, tokenizer=True)[1] is None:
            place = recipe.place(f"{section}.sources.{weighted[0]}.weight")
            raise ConfigError(
                f"{place}: a weight needs a budget: set {section}.target_tokens, {section}.target_bytes or "
                f"{section}.target_documents."
            )
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """The mix, called by its name."""
        recipe, mix = process.run.recipe, self.name
        mixer = mix_config(recipe, mix).mixer.name
        columns = edit_columns(process, mix)
        reads, own = united(mix_reads(recipe, mix), edit_reads(process, mix), given_reads(process, columns))
        last = [f"attributes/{step.name}" for step in electing_steps(recipe)[-1:]]
        wanted = ["index", verdicts_of(mix), "tokenizer", *last, *(f"attributes/{c}" for c in columns)]
        needs = tuple({name: known[name] for name in wanted if name in known}.values())
        files = module_files(process, f"{mix}.mixer {mixer}", mixer_spec(mixer).module)
        owns, texts = (tuple(f"{mix}/{name}" for name in names) for names in (OWNED, TEXTS))
        return [Artifact(mix, mix, reads, own, files, needs, owns=owns, texts=texts)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Encode and measure, plan, write."""
        name, recipe = self.name, process.run.recipe
        if name not in left:
            return []
        mix, config = left[name], mix_config(recipe, name)
        ids = ids_digest(process, known, name) if recipe.tokenizer else ""
        labels = tuple(edit_columns(process, name))
        documents = bool(config.documents)
        return [
            Encoding(mix, ids, labels, mix, mix=name),
            planning := Plan((mix,), name),
            Writing(mix, ids, labels, documents, name),
            CloseMix((mix,), known[verdicts_of(name)], planning, name),
        ]


def mix_reads(recipe: Recipe, section: str = MIX) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Keys of the recipe that the choice of documents depends on; section: of the mix."""
    mix = mix_config(recipe, section)
    reads: dict[str, Any] = {
        "seed": recipe.seed,
        f"{section}.mixer": mix.mixer.name,
        **{f"{section}.mixer.{name}": value for name, value in mix.mixer.parameters.items()},
        f"{section}.max_epochs": mix.max_epochs,
        f"{section}.keep_metadata": list(mix.keep_metadata),
        f"{section}.documents": bool(mix.documents),
    }
    for unit in ("tokens", "bytes", "documents"):
        reads[f"{section}.target_{unit}"] = getattr(mix, f"target_{unit}")
    held = mix.held_out
    reads[f"{section}.held_out.share"] = held.share if held else None
    reads[f"{section}.held_out.max_tokens"] = held.max_tokens if held else None
    reads[f"{section}.held_out.max_bytes"] = held.max_bytes if held else None
    own = {
        name: {f"{section}.sources.{name}.weight": one.weight}
        for name, one in mix.sources.items()
        if one.weight != MixSourceConfig().weight
    }
    return {key: value for key, value in reads.items() if value is not None}, own


@dataclass(frozen=True)
class CloseMix(OneTask):
    """Closes the artifact of a mix: what was written, with the counts of the verdicts and the plan; one task.

    Args:
        verdicts: the artifact of the verdicts. planning: the phase that made the plan. mix: the name of the mix.
    """

    verdicts: Artifact | None = None
    planning: Plan | None = None
    mix: str = MIX

    @property
    def name(self) -> str:
        """`<mix>/close`."""
        return f"{self.mix}/close"

    @property
    def needs(self) -> frozenset[str]:
        """What was written."""
        return frozenset({f"{self.mix}/written"})

    @property
    def makes(self) -> frozenset[str]:
        """The mix."""
        return frozenset({self.mix})

    def work(self, process: Process, task: Task) -> Work:
        """Nothing but to be there: closing is for `finish`."""
        return Work()

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        assert self.verdicts is not None
        assert self.planning is not None
        list(records)
        (artifact,) = self.artifacts
        counts = {line["shard"]: line["counts"] for line in read_lines(run.folder, self.verdicts.folder)}
        made = [
            {**record, "counts": {**record["counts"], **counts[record["shard"]]}}  # of an earlier close they are there
            for record in gathered(run, artifact).values()
        ]
        plan = MixPlan.from_json(orjson.loads(run.folder.read(layout.plan(self.mix))))
        summary = {
            name: {
                "weight": one.weight,
                "epochs": one.epochs,
                "documents": one.documents,
                **({"tokens": one.tokens} if run.recipe.tokenizer else {}),
                "bytes": one.bytes,
                "limited": one.limited,
            }
            for name, one in plan.sources.items()
        }
        (planned,) = read_records(run, self.planning, self.planning.tasks(run))
        extra = {"plan": summary, "unit": plan.unit, "outputs": planned["more"]["outputs"]}
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=names(run), extra=extra)
