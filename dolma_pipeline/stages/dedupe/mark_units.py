"""Which units of a step are repeats: a task a range of keys, over the slices of all shards.

Units of documents that the step does not see are left out, so they neither mark nor count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.repeats import flags_of
from dolma_pipeline.io.tables import TableWriter
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.ranges import range_tasks
from dolma_pipeline.stages.dedupe.seen import Places
from dolma_pipeline.stages.dedupe.span_kinds import units_artifact
from dolma_pipeline.stages.dedupe.units import read_unit_keys

MARKS = pa.schema([pa.field("node", pa.int64()), pa.field("unit", pa.uint32()), pa.field("flags", pa.uint8())])
"""Units that occur more than once: document by number, the unit's number in its shard's file, and flags as
`dedup.repeats` has them; ascending."""


@dataclass(frozen=True)
class MarkUnits(Phase):
    """The repeats of one step.

    Args:
        places: of the documents.
    """

    step: DedupeStepConfig | None = None
    places: Places | None = None

    @property
    def name(self) -> str:
        """`dedupe/mark/<step>`."""
        assert self.step is not None
        return f"dedupe/mark/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """Units and places."""
        assert self.step is not None
        assert self.places is not None
        return frozenset({units_artifact(self.step), self.places.last})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Ranges of keys."""
        assert self.step is not None
        return range_tasks(run, units_artifact(self.step), "units")

    def work(self, process: Process, task: Task) -> Work:
        """Mark one range; `more` names the file."""
        assert self.step is not None
        assert self.places is not None
        run, artifact = process.run, units_artifact(self.step)
        with_units = {line["shard"] for line in read_lines(run.folder, artifact) if line["outputs"]}
        parts: list[tuple[np.ndarray, ...]] = []
        more: list[np.ndarray] = []
        for shard, places in self.places.of_shards(run):
            if shard.name not in with_units:
                continue
            found = read_unit_keys(run, artifact, shard, task.payload)
            own = places[found.rows]
            sees = own >= 0
            nodes = found.rows[sees].astype(np.int64) + shard.first
            parts.append((found.keys[sees], nodes, own[sees], found.units[sees]))
            if found.more is not None:
                more.append(found.more[sees])
        sizes = [len(part[0]) for part in parts]
        name = layout.cache("repeats", digest([self.digest, run.shards_digest]), f"marks/{task.key}.parquet")
        count = 0
        with ExitStack() as stack:
            writer = TableWriter(stack.enter_context(run.folder.committing(name)), MARKS, compression="none")
            if parts:
                keys, nodes, own, units = (np.concatenate(column) for column in zip(*parts, strict=True))
                del parts
                flags = flags_of(keys, own, units.astype(np.int64), more=np.concatenate(more) if more else None)
                ends = np.cumsum(sizes)
                for lo, hi in zip(ends - sizes, ends, strict=True):
                    some = lo + np.flatnonzero(flags[lo:hi])
                    some = some[np.argsort(units[some])]  # numbers of units ascend with rows
                    writer.write([pa.array(column[some]) for column in (nodes, units, flags)])
                    count += len(some)
            writer.close()
        return Work(more={"file": name, "marks": count}, documents=sum(sizes), files=[name])
