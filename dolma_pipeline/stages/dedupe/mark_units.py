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
from dolma_pipeline.dedup.ascending import ascending
from dolma_pipeline.dedup.repeats import flags_of
from dolma_pipeline.io.tables import TableWriter
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.ranges import range_tasks
from dolma_pipeline.stages.dedupe.seen import UNSEEN, Places
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
        nodes: list[tuple[int, np.ndarray]] = []
        more: list[np.ndarray] = []
        for shard, places in self.places.of_shards(run):
            if shard.name not in with_units:
                continue
            found = read_unit_keys(run, artifact, shard, task.payload)
            if (places == UNSEEN).any():
                found = found.taken(places[found.rows] != UNSEEN)
            parts.append((found.keys, places[found.rows], found.units))
            nodes.append((shard.first, found.rows))
            if found.more is not None:
                more.append(found.more)
        sizes = [len(part[0]) for part in parts]
        name = layout.cache("repeats", digest([self.digest, run.shards_digest]), f"marks/{task.key}.parquet")
        count = 0
        with ExitStack() as stack:
            writer = TableWriter(stack.enter_context(run.folder.committing(name)), MARKS, compression="none")
            if parts:
                keys, own, units = (np.concatenate(column) for column in zip(*parts, strict=True))
                del parts
                flags = flags_of(keys, own, units.astype(np.int64), more=np.concatenate(more) if more else None)
                begin = 0
                for first, rows in nodes:
                    some = np.flatnonzero(flags[begin : begin + len(rows)])
                    numbers, order = ascending(units[begin + some].astype(np.uint64))  # they ascend with rows
                    some = some[order]
                    node = rows[some].astype(np.int64) + first
                    columns = node, numbers.astype(np.uint32), flags[begin + some]
                    writer.write([pa.array(column) for column in columns])
                    begin += len(rows)
                    count += len(some)
            writer.close()
        return Work(more={"file": name, "marks": count}, documents=sum(sizes), files=[name])
