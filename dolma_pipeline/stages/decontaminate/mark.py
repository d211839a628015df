"""The column `decontaminate` of each document, from matches alone: another threshold reads no text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.dedup.contamination import MARKS_TYPE, Thresholds, document_marks, judge_matches
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed, names
from dolma_pipeline.stages.decontaminate.items import read_items

LABEL = "decontaminate"
"""The column, and its folder in `attributes/`."""


def thresholds_of(recipe: Recipe) -> Thresholds:
    """Those of a recipe."""
    config = recipe.decontaminate
    assert config is not None
    return Thresholds(
        min_run=config.min_run,
        min_coverage=config.min_coverage,
        weak_words=config.weak_words,
        mark_weak=config.mark_weak,
    )


@dataclass(frozen=True)
class Mark(Phase):
    """Writes the column.

    Args:
        items: the artifact of the benchmarks' items.
    """

    items: Artifact | None = None

    @property
    def name(self) -> str:
        """`decontaminate/mark`."""
        return "decontaminate/mark"

    @property
    def needs(self) -> frozenset[str]:
        """Matches, items and the index."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        """The column."""
        return frozenset({self.artifacts[0].name})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of the shards that are not marked."""
        done = gathered(run, self.artifacts[0], but=self)
        for block in blocks(shard for shard in indexed(run) if shard.name not in done):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Mark one block."""
        block: Block = task.payload
        records = [self._write(process, shard) for shard in block.shards]
        return Work({self.artifacts[0].name: records}, documents=block.rows)

    def _write(self, process: Process, shard: ShardAt) -> dict[str, Any]:
        assert self.items is not None
        run, (artifact,) = process.run, self.artifacts
        items = read_items(process, self.items)
        ids, benchmarks = (
            process.kept(("item", name, self.items.digest), items.column(name).to_pylist)
            for name in ("id", "benchmark")
        )
        matches = get_table(run.folder, layout.matches(shard.name))
        judged = judge_matches(matches, thresholds_of(run.recipe))
        column = document_marks(matches, judged, num_rows=shard.rows, ids=ids, benchmarks=benchmarks)
        name = layout.attributes(LABEL, shard.name)
        with run.folder.committing(name) as file:
            writer = attribute_writer(file, LABEL, MARKS_TYPE)
            writer.write_column(column)
            writer.close()
        rows, of = matches.column("row").to_numpy(), matches.column("item").to_numpy()
        counts = {}
        names_of = np.array([benchmarks[item] for item in of.tolist()], object)
        for benchmark in dict.fromkeys(names_of.tolist()):
            own = names_of == benchmark
            counts[benchmark] = {
                "documents": len(np.unique(rows[own & judged.marks])),
                "weak": len(np.unique(rows[own & judged.weak])),
            }
        return {
            "shard": shard.name,
            "inputs": [],
            "outputs": [output_record(artifact, name, file, rows=shard.rows)],
            "counts": {
                "in": shard.rows + shard.failed,
                "kept": shard.rows,
                "dropped": 0,
                "failed": shard.failed,
                "contaminated": int(np.count_nonzero(column.field("contaminated"))),
                "weak": int(np.count_nonzero(column.field("weak"))),
                "benchmarks": counts,
            },
        }

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (artifact,) = self.artifacts
        made = gathered(run, artifact, but=self)
        for record in records:
            made |= {one["shard"]: one for one in record["records"][artifact.name]}
        close(run.folder, artifact, made.values(), shards_digest=run.shards_digest, expected=names(run))
