"""How dedupe is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import Stage, at, module_files
from dolma_pipeline.stages.dedupe import kind_against, kind_exact, kind_minhash, kind_paragraphs, kind_substring
from dolma_pipeline.stages.dedupe.candidates import Candidates
from dolma_pipeline.stages.dedupe.check import Check
from dolma_pipeline.stages.dedupe.cluster import Cluster
from dolma_pipeline.stages.dedupe.column_keys import ColumnKeys
from dolma_pipeline.stages.dedupe.earlier import keeps_old
from dolma_pipeline.stages.dedupe.edges import Edges
from dolma_pipeline.stages.dedupe.elect import Elect
from dolma_pipeline.stages.dedupe.kinds import TextKind, kind_of, known_kind
from dolma_pipeline.stages.dedupe.repeats import keeping, marking
from dolma_pipeline.stages.dedupe.sets import MakeSets
from dolma_pipeline.stages.dedupe.sign import Sign
from dolma_pipeline.stages.dedupe.steps import all_steps, electing_steps, span_steps, text_steps
from dolma_pipeline.stages.dedupe.verify import FirstPairs, Verify
from dolma_pipeline.stages.dedupe.write import WriteMarks
from dolma_pipeline.stages.mixes import JUDGED
from dolma_pipeline.stages.reads import given_reads
from dolma_pipeline.stages.rules import prefer_columns

OURS = (kind_against, kind_exact, kind_minhash, kind_paragraphs, kind_substring)
"""Modules of our own kinds, which register them."""


class DedupeStage(Stage):
    """Marks duplicates, removes nothing."""

    name = "dedupe"
    summary = "exact and near duplicates; marks, drops nothing"
    after = ("index", "tag", "judge")

    def check(self, process: Process) -> Sequence[str]:
        """Kinds must exist, and `prefer` must be an order over columns of every source."""
        for i, step in enumerate(all_steps(process.run.recipe)):
            with at(process.run.recipe, f"dedupe.steps.{i}.kind"):
                kind = known_kind(step)
            with at(process.run.recipe, f"dedupe.steps.{i}"):
                kind.check(step)
            kind.bind(process, step)
        prefer_columns(process)
        return ()

    def columns(self, process: Process) -> Mapping[str, pa.StructType]:
        """The steps'."""
        found = {}
        for i, step in enumerate(all_steps(process.run.recipe)):
            with at(process.run.recipe, f"dedupe.steps.{i}.kind"):  # this is asked before `check` is
                found[step.name] = known_kind(step).column
        return found

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`dedupe/<step>`, of some also `dedupe/<step>/sets` or `/runs`, and `attributes/<step>` of every step."""
        recipe = process.run.recipe
        assert recipe.dedupe is not None
        found: list[Artifact] = []
        sources_of: dict[str, list[Artifact]] = {}
        steps = all_steps(recipe)
        alone = {step.name: self._of_texts(process, step, known["index"]) for step in text_steps(recipe)}
        found += [one for own in alone.values() for one in own]
        steps = [step for step in steps if step.name not in alone]
        for step in steps:
            kind = known_kind(step)
            settings = {"kind": step.kind, **kind.settings(step)}
            reads = {f"dedupe.steps.{step.name}.{key}": value for key, value in settings.items()}
            format_ = kind.format_of(step)
            files = {"signatures": f"format {format_}"} if format_ > 1 else {}
            files |= module_files(process, f"dedupe kind {step.kind}", type(kind).__module__)
            columns = kind.bind(process, step)
            needs = [known["index"], *(known[f"attributes/{c}"] for c in columns if f"attributes/{c}" in known)]
            keys = Artifact(
                f"dedupe/{step.name}",
                "dedupe",
                reads,
                given_reads(process, columns)[1],
                files=files,
                needs=tuple(needs),
                growing=True,
            )
            sources_of[step.name] = [keys]
            if not kind.elects:
                sources_of[step.name] += keeping(step, keys)
            elif kind_of(step).verified:
                reads = {f"dedupe.steps.{step.name}.shingle": step.shingle}
                sources_of[step.name].append(
                    Artifact(
                        f"dedupe/{step.name}/sets",
                        "dedupe",
                        reads,
                        files={"sets": "format 1"},
                        needs=(keys,),
                        growing=True,
                    )
                )
            found += sources_of[step.name]
        preferred = prefer_columns(process)
        judged = [known[JUDGED]] if JUDGED in known else []
        marks: list[Artifact] = []
        earlier: list[Artifact] = []  # of steps that say which documents stay
        for step in steps:
            electing: dict[str, Any] = {}
            if recipe.dedupe.prefer:
                electing["dedupe.prefer"] = list(recipe.dedupe.prefer)
            if earlier:
                before = [one.name.removeprefix("attributes/") for one in earlier]
                electing[f"dedupe.steps: before {step.name}"] = before
            if known_kind(step).elects and kind_of(step).verified:
                electing |= {f"dedupe.steps.{step.name}.{key}": getattr(step, key) for key in ("threshold", "verify")}
            reads, own = given_reads(process, preferred)
            sources = list(recipe.sources)
            for n, source in enumerate(sources):  # the order decides ties; a source behind them changes nothing
                own.setdefault(source, {})[f"sources: before {source}"] = sources[:n]
            needs = [
                *sources_of[step.name],
                *earlier,
                *judged,
                *(known[f"attributes/{c}"] for c in preferred if f"attributes/{c}" in known),
                known["index"],
            ]
            unique = {one.name: one for one in needs}
            marks.append(
                Artifact(
                    f"attributes/{step.name}",
                    "dedupe",
                    {**electing, **reads},
                    own,
                    needs=tuple(unique.values()),
                    growing=keeps_old(recipe),
                    remembers=keeps_old(recipe),
                )
            )
            refuse_to_remember(recipe, marks[-1])
            if known_kind(step).elects:
                earlier.append(marks[-1])
        return [*found, *marks]

    def _of_texts(self, process: Process, step: DedupeStepConfig, index: Artifact) -> list[Artifact]:
        kind = known_kind(step)
        assert isinstance(kind, TextKind)
        return kind.artifacts(process, step, index)

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Consumers of signatures; pairs, clusters, sets; the election, for all steps whose columns are not there."""
        found: list[Step] = []
        recipe = process.run.recipe
        for config in span_steps(recipe):
            found += marking(config, known, left, prefers=bool(recipe.dedupe and recipe.dedupe.prefer))
        for config in text_steps(recipe):
            kind = known_kind(config)
            assert isinstance(kind, TextKind)
            found += kind.steps(config, known, left)
        for config in electing_steps(recipe):
            if sets := left.get(f"dedupe/{config.name}/sets"):
                found.append(MakeSets((sets,), config))
            artifact = left.get(f"dedupe/{config.name}")
            if artifact is None:
                continue
            if kind_of(config).signer(config) is not None:
                found.append(Sign(artifact, config))
            if kind_of(config).of_columns(config):
                found.append(ColumnKeys((artifact,), config))
            edges = Edges((artifact,), config)
            found += [edges, Cluster((artifact,), config, edges)]
        names = [f"attributes/{step.name}" for step in electing_steps(recipe)]
        marks = tuple(left[name] for name in names if name in left)
        if marks:
            remembered = tuple(known[name] for name in names) if keeps_old(recipe) else ()
            candidates = Candidates(marks, known.get(JUDGED), remembered)
            pairs = FirstPairs(marks, candidates)
            verify = Verify(marks, pairs)
            elect = Elect(marks, candidates, verify)
            write = WriteMarks(marks, elect)
            found += [candidates, pairs, verify, elect, write, Check(marks, candidates, elect, write)]
        return found


def refuse_to_remember(recipe: Recipe, marks: Artifact) -> None:
    """Stop where verdicts cannot be kept, since what they were made from is made anew with every new file.

    Raises:
        ConfigError: names it.
    """
    if marks.remembers and not marks.grows:
        anew = ", ".join(need.name for need in marks.needs if not need.grows)
        with at(recipe, "dedupe.keep"):
            raise UsageError(
                f"keep is old, but {marks.name} is made from {anew}, which is made anew for all documents when files "
                "are added, so that what was decided of earlier ones need not hold. Set keep: elect, or leave it out "
                "of dedupe.prefer and of the rules that name no dedupe step."
            )
