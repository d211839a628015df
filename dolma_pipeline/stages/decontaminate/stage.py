"""How decontaminate is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dolma_pipeline.dedup.contamination import MARKS_TYPE
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import Stage, at
from dolma_pipeline.stages.decontaminate.benchmarks import benchmark_files
from dolma_pipeline.stages.decontaminate.items import ReadItems, check_findable
from dolma_pipeline.stages.decontaminate.mark import LABEL, Mark
from dolma_pipeline.stages.decontaminate.match import Matching
from dolma_pipeline.stages.decontaminate.report import Report

ITEMS, MATCHES, REPORT = "decontaminate/items", "decontaminate/matches", "decontaminate"


class DecontaminateStage(Stage):
    """Marks documents in which items of evaluation sets stand."""

    name = "decontaminate"
    summary = "overlaps with evaluation sets; marks, drops nothing"
    after = ("index", "tag")
    before = ("judge",)

    def check(self, process: Process) -> Sequence[str]:
        """All items must be there and be items."""
        with at(process.run.recipe, "decontaminate.benchmarks"):
            check_findable(process)
        return ()

    def columns(self, process: Process) -> Mapping[str, pa.StructType]:
        """One."""
        return {LABEL: MARKS_TYPE}

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """The items, what of them stands in documents, the column, the report."""
        config = process.run.recipe.decontaminate
        assert config is not None
        with at(process.run.recipe, "decontaminate.benchmarks"):
            files = {
                f"decontaminate.benchmarks.{one.benchmark}: {one.name}": one.sha256 for one in benchmark_files(process)
            }
        reads: dict[str, Any] = {"decontaminate.benchmarks": list(config.benchmarks)}
        if process.run.recipe.normalize:
            reads["normalize"] = list(process.run.recipe.normalize)
        items = Artifact(
            ITEMS,
            self.name,
            reads,
            files={**files, "items": "format 1"},
            growing=True,
        )
        matches = Artifact(
            MATCHES,
            self.name,
            {"decontaminate.ngram": config.ngram},
            files={"matches": "format 1"},
            needs=(items, known["index"]),
            growing=True,
        )
        keys = ("min_run", "min_coverage", "weak_words", "mark_weak")
        reads = {f"decontaminate.{key}": getattr(config, key) for key in keys}
        needs = (items, matches, known["index"])
        marks = Artifact(f"attributes/{LABEL}", self.name, reads, needs=needs, growing=True)
        owns = (layout.FOUND, layout.manifest(REPORT))
        return [items, matches, marks, Artifact(REPORT, self.name, reads, needs=(*needs, marks), owns=owns)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Items, then a consumer, then columns."""
        config = process.run.recipe.decontaminate
        assert config is not None
        found: list[Step] = []
        if ITEMS in left:
            found.append(ReadItems((left[ITEMS],)))
        if MATCHES in left:
            found.append(Matching(left[MATCHES], known[ITEMS], config.ngram))
        if f"attributes/{LABEL}" in left:
            found.append(Mark((left[f"attributes/{LABEL}"],), known[ITEMS]))
        if REPORT in left:
            found.append(Report((left[REPORT],), known[ITEMS], config.ngram))
        return found
