"""The columns of a step that marks repeats, a file a shard, a task a block; closes the artifact `attributes/<step>`.

Files of shards whose marks stand (`dedupe.keep: old`) are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.repeats import ELSEWHERE, REPEAT, joined
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.tables import get_range, get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.columns import read_index
from dolma_pipeline.run.manifests import close, output_record, read_manifest
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import earlier_records, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed, names
from dolma_pipeline.stages.dedupe.earlier import arrived, counted, new_shards
from dolma_pipeline.stages.dedupe.mark_units import MarkUnits
from dolma_pipeline.stages.dedupe.ranges import portions
from dolma_pipeline.stages.dedupe.seen import UNSEEN
from dolma_pipeline.stages.dedupe.span_kinds import REPEATS_TYPE, span_kind, units_artifact


@dataclass(frozen=True)
class WriteSpans(Phase):
    """Writes what was marked.

    Args:
        marked: the phase that marked it.
    """

    step: DedupeStepConfig | None = None
    marked: MarkUnits | None = None

    @property
    def name(self) -> str:
        """`dedupe/spans/<step>`."""
        assert self.step is not None
        return f"dedupe/spans/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The marks."""
        assert self.marked is not None
        return frozenset({self.marked.name})

    @property
    def makes(self) -> frozenset[str]:
        """`attributes/<step>`."""
        return frozenset({self.artifacts[0].name})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards."""
        return arrived(run, self, self.artifacts)

    def work(self, process: Process, task: Task) -> Work:
        """Write the columns of one block."""
        assert self.marked is not None
        assert self.marked.places is not None
        assert self.step is not None
        block, old = task.payload.block, task.payload.old.get(self.step.name, frozenset())
        run, first = process.run, block.shards[0].first
        files = [record["more"]["file"] for record in read_records(run, self.marked, self.marked.tasks(run))]
        seen = self.marked.places.of_block(run, block) != UNSEEN
        records = []
        for some in portions(block):
            begin, end = some[0].first, some[-1].first + some[-1].rows
            marks = pa.concat_tables([get_range(run.folder, file, "node", begin, end) for file in files])
            nodes, units, flags = (marks.column(name).to_numpy() for name in ("node", "unit", "flags"))
            order = np.lexsort((units, nodes)) if len(files) > 1 else np.arange(len(nodes))
            nodes, units, flags = nodes[order], units[order], flags[order]
            for shard in new_shards(some, old):
                lo, hi = np.searchsorted(nodes, [shard.first, shard.first + shard.rows])
                own = seen[shard.first - first : shard.first - first + shard.rows]
                records.append(self._write(run, shard, units[lo:hi], flags[lo:hi], own))
        return Work({self.artifacts[0].name: records}, documents=block.rows)

    def _write(
        self, run: Run, shard: ShardAt, units: NDArray[np.uint32], flags: NDArray[np.uint8], seen: NDArray[np.bool_]
    ) -> dict[str, Any]:
        assert self.step is not None
        (artifact,) = self.artifacts
        sizes = get_table(run.folder, layout.unit_sizes(self.step.name, shard.name)).column("size").to_numpy()
        column, marked = repeats_column(run, self.step, shard, units, flags, sizes)
        name = layout.attributes(self.step.name, shard.name)
        with run.folder.committing(name) as file:
            writer = attribute_writer(file, self.step.name, REPEATS_TYPE)
            writer.write_column(column)
            writer.close()
        chars = read_index(run, shard, ["chars"]).column("chars").to_numpy()
        kind = span_kind(self.step)
        counts = {
            "in": shard.rows + shard.failed,
            "kept": shard.rows,
            "dropped": 0,
            "failed": shard.failed,
            "seen": int(seen.sum()),
            "seen_chars": int(chars[seen].sum()),
            "touched": marked.documents,
            "repeats": int((flags & REPEAT != 0).sum()),
            "spans": marked.spans,
            "repeated_chars": marked.chars,
            f"seen_{kind.measure}_in_units": int(sizes[seen].sum()),
            f"repeated_{kind.measure}": marked.covered,
        }
        output = output_record(artifact, name, file, rows=shard.rows)
        return {"shard": shard.name, "inputs": [], "outputs": [output], "counts": counts}

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest; it warns where there was nothing that could be marked."""
        assert self.step is not None
        (artifact,) = self.artifacts
        kept = earlier_records(run, artifact) if artifact.remembers else []
        made = [*kept, *(one for record in records for one in record["records"][artifact.name])]
        extra: dict[str, Any] = {"warnings": found} if (found := self._warnings(run)) else {}
        if kept:
            count = counted(indexed(run), {one["shard"] for one in kept})
            extra[EARLIER] = {key: count[key] for key in ("documents", "new")}
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=names(run), extra=extra)

    def _warnings(self, run: Run) -> list[str]:
        assert self.step is not None
        manifest = read_manifest(run.folder, f"dedupe/{self.step.name}") or {"counts": {}}
        counts = manifest["counts"].values()
        if any(one.get("units", 0) + one.get("anchors", 0) for one in counts):
            return []
        return [span_kind(self.step).none_found(self.step)]


@dataclass(frozen=True)
class Marked:
    """What is marked in a shard: documents that have spans, spans, their code points, and what they cover in the step's
    measure."""

    documents: int
    spans: int
    chars: int
    covered: int


def repeats_column(
    run: Run,
    step: DedupeStepConfig,
    shard: ShardAt,
    units: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    sizes: NDArray[np.int64],
) -> tuple[pa.StructArray, Marked]:
    """A step's column for the documents of one shard (`REPEATS_TYPE`).

    Args:
        units: those that occur more than once, ascending, as numbers in the shard's file. flags: of each.
        sizes: of each document of the shard, in the step's measure.
    """
    num_rows = shard.rows
    found = dict.fromkeys(("row", "word", "start", "end"), np.zeros(0, np.int64))
    if len(units):
        table = get_table(run.folder, layout.units(units_artifact(step), shard.name))
        at = units.astype(np.int64)
        found |= {name: table.column(name).to_numpy()[at].astype(np.int64) for name in table.column_names}
    if (kind := span_kind(step)).measure == "words":
        measure = found["word"], found["word"] + kind.words(step)
    else:
        measure = found["start"], found["end"]
    parts = []
    for flag in (REPEAT, ELSEWHERE):
        some = flags & flag != 0
        own = [found["row"][some], *(one[some] for one in (*measure, found["start"], found["end"]))]
        parts.append(joined(own[0], (own[1], own[2]), (own[3], own[4]), num_rows=num_rows))
    repeats = parts[0]
    offsets = np.searchsorted(repeats.rows, np.arange(num_rows + 1)).astype(np.int32)
    spans = pa.StructArray.from_arrays(
        [
            pa.array(repeats.starts.astype(np.int32)),
            pa.array(repeats.ends.astype(np.int32)),
            pa.array(np.ones(len(repeats.rows), np.float32)),
        ],
        fields=list(SPANS_TYPE.value_type),
    )
    shares = [one.covered / np.maximum(sizes, 1) for one in parts]
    columns = [pa.ListArray.from_arrays(pa.array(offsets), spans), *map(pa.array, shares)]
    column = pa.StructArray.from_arrays(columns, fields=list(REPEATS_TYPE))
    documents = int((repeats.covered > 0).sum())
    chars = int((repeats.ends - repeats.starts).sum())
    return column, Marked(documents, len(repeats.rows), chars, int(repeats.covered.sum()))
