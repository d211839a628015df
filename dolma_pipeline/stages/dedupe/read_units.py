"""The consumer of dedupe kinds that mark repeats: units of texts, or the anchors by which they will be found.

Both depend on the text and the step's own keys alone; neither order nor rules play a part, and other shards do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.edges import sorted_column
from dolma_pipeline.io.tables import TableWriter
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.span_kinds import AnchoredKind, Anchors, span_kind
from dolma_pipeline.stages.dedupe.units import PIECE, UnitWriter
from dolma_pipeline.stages.index import SCAN, counts_of

SIZES = pa.schema([pa.field("size", pa.int64())])
"""What `coverage` of each document is a share of: words or characters; a row a document."""
ANCHORS = pa.schema([pa.field("key", pa.uint64()), pa.field("row", pa.uint32()), pa.field("word", pa.uint32())])
"""Hashes of a shard's documents, ascending in pieces of `PIECE`; row, and first word in it."""


@dataclass(frozen=True)
class ReadUnits(Consumer):
    """Keeps what one dedupe step finds repeats by."""

    step: DedupeStepConfig | None = None

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        assert self.step is not None
        kind = _Anchoring if isinstance(span_kind(self.step), AnchoredKind) else _Cutting
        return kind(process, self.artifact, self.step, shard, stack)


class _Cutting(Feeder):
    """Writes units and sizes."""

    def __init__(
        self, process: Process, artifact: Artifact, step: DedupeStepConfig, shard: ShardAt, stack: ExitStack
    ) -> None:
        self._artifact, self._step, self._kind = artifact, step, span_kind(step)
        self._sizes = _Sizes(process, artifact, step, shard, stack)
        self._units = UnitWriter(
            process.run.folder,
            artifact,
            shard.name,
            stack,
            wide=self._kind.wide,
            words=self._kind.measure == "words",
        )

    def add(self, feed: Feed) -> None:
        units, sizes = self._kind.units(feed.batch.text, self._step)
        self._units.add(units, feed.batch.first_row)
        self._sizes.write(sizes)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._units.close()
        outputs = [*self._units.outputs(), self._sizes.close()]
        return {"outputs": outputs, "counts": _counts(read, units=self._units.count)}


class _Anchoring(Feeder):
    """Writes anchors and sizes."""

    def __init__(
        self, process: Process, artifact: Artifact, step: DedupeStepConfig, shard: ShardAt, stack: ExitStack
    ) -> None:
        kind = span_kind(step)
        assert isinstance(kind, AnchoredKind)
        self._artifact, self._step, self._kind = artifact, step, kind
        self._sizes = _Sizes(process, artifact, step, shard, stack)
        self._name = layout.anchors(step.name, shard.name)
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._writer = TableWriter(self._file, ANCHORS, compression="none")
        self._held: list[Anchors] = []
        self._num_held = self._count = 0

    def add(self, feed: Feed) -> None:
        found, sizes = self._kind.anchors(feed.batch.text, self._step)
        self._held.append(found._replace(rows=found.rows + np.int32(feed.batch.first_row)))
        self._num_held += len(found.rows)
        self._sizes.write(sizes)
        if self._num_held >= PIECE:
            self._flush()

    def _flush(self) -> None:
        if not self._num_held:
            return
        rows, words, keys = (np.concatenate(columns) for columns in zip(*self._held, strict=True))
        keys, order = sorted_column(keys, np.arange(len(keys), dtype=np.uint32))
        self._writer.write([pa.array(keys), *(pa.array(column[order].astype(np.uint32)) for column in (rows, words))])
        self._count += self._num_held
        self._held, self._num_held = [], 0

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._flush()
        self._writer.close()
        outputs = [output_record(self._artifact, self._name, self._file, rows=self._count), self._sizes.close()]
        return {"outputs": outputs, "counts": _counts(read, anchors=self._count)}


class _Sizes:
    """Writes the size of each document of a shard."""

    def __init__(
        self, process: Process, artifact: Artifact, step: DedupeStepConfig, shard: ShardAt, stack: ExitStack
    ) -> None:
        self._artifact, self._name, self._rows = artifact, layout.unit_sizes(step.name, shard.name), 0
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._writer = TableWriter(self._file, SIZES, compression="zstd", encoding={"size": "DELTA_BINARY_PACKED"})

    def write(self, sizes: NDArray[np.int64]) -> None:
        self._writer.write([pa.array(sizes, pa.int64())])
        self._rows += len(sizes)

    def close(self) -> dict[str, Any]:
        """Finish the file; gives what a record says of it."""
        self._writer.close()
        return output_record(self._artifact, self._name, self._file, rows=self._rows)


def _counts(read: ShardRead, **found: int) -> dict[str, int]:
    return {**counts_of(read), "bytes_in": read.num_bytes, **found}
