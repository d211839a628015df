"""How mix is put together: verdicts, then sizes, plan and what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dolma_pipeline.config.recipe import MixSourceConfig, Recipe
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.registry import load_mixer, mixer_spec
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, read_lines
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import names
from dolma_pipeline.run.stage import Stage, at, module_files
from dolma_pipeline.stages.asked import asked_artifact, asked_steps, name_of
from dolma_pipeline.stages.encode import Encoding, ids_digest
from dolma_pipeline.stages.judged import JUDGED
from dolma_pipeline.stages.mix.decide import VERDICTS, Decide
from dolma_pipeline.stages.mix.plan import Plan
from dolma_pipeline.stages.mix.planning import MixPlan, budget_of
from dolma_pipeline.stages.mix.write import Writing
from dolma_pipeline.stages.reads import edit_reads, given_reads, rule_reads, united
from dolma_pipeline.stages.rules import MIN_CHARS, rule_names, source_rules, used_sources
from dolma_pipeline.stages.tokenizer import edit_columns

OWNED = tuple(
    f"mix/{name}" for name in ("selected", "documents", "held_out", "plan.json", "manifest.json", "shards.jsonl")
)
"""What the artifact `mix` holds; the verdicts lie in its folder, too."""


class VerdictStage(Stage):
    """All rules of all documents; it has no section and no command of its own."""

    name = "verdicts"
    summary = "what each rule says of each document"
    after = ("index", "tag", "judge", "dedupe")

    def used(self, process: Process) -> bool:
        """Where there is a mix."""
        return process.run.recipe.mix is not None

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`mix/verdicts`."""
        recipe = process.run.recipe
        assert recipe.mix is not None
        rules = {source: source_rules(process, source) for source in used_sources(process)}
        asked = asked_artifact(process, known, "late", {source: one.late for source, one in rules.items()})
        columns = sorted({c for source, one in rules.items() for c in one.columns_of(one.names)})
        named = {source: one.names for source, one in rules.items()}
        edits = edit_reads(process) if any(MIN_CHARS in one.late for one in rules.values()) else ({}, {})
        reads, own = united(rule_reads(process, named), edits, given_reads(process, columns))
        for source in rules:
            own.setdefault(source, {})["mix.where: order"] = rule_names(recipe.mix, source)
        steps = [step.name for step in recipe.dedupe.steps] if recipe.dedupe else []
        wanted = ["index", JUDGED, *(f"attributes/{c}" for c in [*columns, *steps])]
        needs = {name: known[name] for name in wanted if name in known}
        if asked:
            needs[asked.name] = asked
        verdicts = Artifact(
            VERDICTS, "mix", reads, own, needs=tuple(needs.values()), root="mix", owns=(VERDICTS, "mix/dropped")
        )
        return [*([asked] if asked else []), verdicts]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """One phase."""
        found = asked_steps(process, "late", left)
        if VERDICTS in left:
            found.append(Decide((left[VERDICTS],), known[JUDGED], known.get(name_of("late"))))
        return found


class MixStage(Stage):
    """Sample to a budget."""

    name = "mix"
    summary = "filter, mask, sample to a budget"
    after = ("verdicts", "tokenizer")
    readings = ("ask", "encode", "write")

    def check(self, process: Process) -> Sequence[str]:
        """Rules, edits and the mixer must exist; weights need a budget."""
        recipe = process.run.recipe
        mix = recipe.mix
        assert mix is not None
        for source in used_sources(process):
            source_rules(process, source)
        with at(recipe, "mix.mixer"):
            load_mixer(mix.mixer.name, **mix.mixer.parameters)
        weighted = [name for name, own in mix.sources.items() if own.weight is not None]
        if weighted and budget_of(mix, tokenizer=True)[1] is None:
            place = recipe.place(f"mix.sources.{weighted[0]}.weight")
            raise ConfigError(
                f"{place}: a weight needs a budget: set mix.target_tokens, mix.target_bytes or mix.target_documents."
            )
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`mix`."""
        recipe = process.run.recipe
        assert recipe.mix is not None
        columns = edit_columns(process)
        reads, own = united(mix_reads(recipe), edit_reads(process), given_reads(process, columns))
        last = [f"attributes/{recipe.dedupe.steps[-1].name}"] if recipe.dedupe else []
        wanted = ["index", VERDICTS, "tokenizer", *last, *(f"attributes/{c}" for c in columns)]
        needs = tuple({name: known[name] for name in wanted if name in known}.values())
        files = module_files(process, f"mix.mixer {recipe.mix.mixer.name}", mixer_spec(recipe.mix.mixer.name).module)
        return [Artifact("mix", "mix", reads, own, files, needs, owns=OWNED)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Encode and measure, plan, write."""
        if "mix" not in left:
            return []
        mix, recipe = left["mix"], process.run.recipe
        assert recipe.mix is not None
        ids = ids_digest(process, known) if recipe.tokenizer else ""
        labels = tuple(edit_columns(process))
        documents = writes_documents(recipe)
        _, target = budget_of(recipe.mix, tokenizer=bool(ids))
        return [
            Encoding(mix, ids, labels, mix, keep_lines=documents and target is None),
            planning := Plan((mix,)),
            Writing(mix, ids, labels, documents),
            CloseMix((mix,), known[VERDICTS], planning),
        ]


def writes_documents(recipe: Recipe) -> bool:
    """Whether edited documents are written."""
    assert recipe.mix is not None
    return bool(recipe.mix.documents)


def mix_reads(recipe: Recipe) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Keys of the recipe that the choice of documents depends on."""
    mix = recipe.mix
    assert mix is not None
    reads: dict[str, Any] = {
        "seed": recipe.seed,
        "mix.mixer": mix.mixer.name,
        **{f"mix.mixer.{name}": value for name, value in mix.mixer.parameters.items()},
        "mix.max_epochs": mix.max_epochs,
        "mix.keep_metadata": list(mix.keep_metadata),
        "mix.documents": writes_documents(recipe),
    }
    for unit in ("tokens", "bytes", "documents"):
        reads[f"mix.target_{unit}"] = getattr(mix, f"target_{unit}")
    held = mix.held_out
    reads["mix.held_out.share"] = held.share if held else None
    reads["mix.held_out.max_tokens"] = held.max_tokens if held else None
    reads["mix.held_out.max_bytes"] = held.max_bytes if held else None
    own = {
        name: {f"mix.sources.{name}.weight": one.weight}
        for name, one in mix.sources.items()
        if one.weight != MixSourceConfig().weight
    }
    return {key: value for key, value in reads.items() if value is not None}, own


@dataclass(frozen=True)
class CloseMix(Phase):
    """Closes the artifact `mix`: what was written, with the counts of the verdicts and the plan; one task.

    Args:
        verdicts: the artifact of the verdicts. planning: the phase that made the plan.
    """

    verdicts: Artifact | None = None
    planning: Plan | None = None

    @property
    def name(self) -> str:
        """`mix/close`."""
        return "mix/close"

    @property
    def needs(self) -> frozenset[str]:
        """What was written."""
        return frozenset({"mix/written"})

    @property
    def makes(self) -> frozenset[str]:
        """`mix`."""
        return frozenset({"mix"})

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def tasks(self, run: Run) -> Iterator[Task]:
        """The one task."""
        yield Task("all")

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
        plan = MixPlan.from_json(orjson.loads(run.folder.read(layout.PLAN)))
        summary = {
            name: {
                "weight": one.weight,
                "epochs": one.epochs,
                "documents": one.documents,
                "tokens": one.tokens,
                "bytes": one.bytes,
                "limited": one.limited,
            }
            for name, one in plan.sources.items()
        }
        (planned,) = read_records(run, self.planning, self.planning.tasks(run))
        extra = {"plan": summary, "unit": plan.unit, "outputs": planned["more"]["outputs"]}
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=names(run), extra=extra)
