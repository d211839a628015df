"""Batch level, for people who compose: `PCollection[Batch]` in and out.

Batches cross workers as Arrow IPC: a slice takes its own bytes along, not its parent's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.coders.typecoders import registry

from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure, document_lines, write_lines
from dolma_pipeline.io.shards import Shard, plan_shards
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.sql import Rules
from dolma_pipeline.tagging import LoadedTagger


class BatchCoder(beam.coders.Coder):
    """A batch as one Arrow IPC stream; shard, first row and lines go along as metadata."""

    def encode(self, value: Batch) -> bytes:
        """To bytes."""
        about = orjson.dumps({"shard": value.shard, "first_row": value.first_row, "locs": value.locs.tolist()})
        sink = pa.BufferOutputStream()
        schema = value.table.schema.with_metadata({"batch": about})
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_batch(value.table.replace_schema_metadata({"batch": about}))
        return bytes(sink.getvalue())

    def decode(self, encoded: bytes) -> Batch:
        """From bytes."""
        with pa.ipc.open_stream(encoded) as reader:
            about = orjson.loads(reader.schema.metadata[b"batch"])
            table = reader.read_next_batch().replace_schema_metadata(None)
        locs = np.array(about["locs"], np.int64)
        return Batch(table, shard=about["shard"], first_row=about["first_row"], locs=locs)

    def is_deterministic(self) -> bool:
        """Equal batches give equal bytes."""
        return True

    def to_type_hint(self) -> type[Batch]:
        """Batches."""
        return Batch


registry.register_coder(Batch, BatchCoder)


class ReadDocuments(beam.PTransform):
    """Documents as batches of about 1,000.

    Args:
        documents: globs, paths, URLs or `@files.txt`. source: the name in their origins.
        split_bytes: larger plain files are read in ranges.

    Lines that give no document come out as `Failure`s under the tag `failed`: `result.failed`, beside
    `result.batches`.
    """

    def __init__(self, documents: str | Sequence[str], *, source: str, split_bytes: int = 256_000_000) -> None:
        super().__init__()
        self.patterns = [documents] if isinstance(documents, str) else list(documents)
        self.source, self.split_bytes = source, split_bytes

    def expand(self, begin: Any) -> Any:
        """Read."""
        shards = plan_shards({self.source: self.patterns}, split_bytes=self.split_bytes)
        found = (
            begin | beam.Create(shards) | beam.Reshuffle() | beam.FlatMap(_read).with_outputs("failed", main="batches")
        )
        return found.batches


def _read(shard: Shard) -> Iterator[Any]:
    failures: list[Failure] = []
    yield from ShardReader(shard, report=failures.append)
    for failure in failures:
        yield beam.pvalue.TaggedOutput("failed", failure)


class Tag(beam.PTransform):
    """Attributes as further columns of each batch, one struct a tagger. Names travel, not objects.

    Args:
        taggers: names, or `TaggerConfig`s with parameters.
    """

    def __init__(self, *taggers: str | TaggerConfig) -> None:
        super().__init__()
        self.uses = [TaggerConfig(tagger=t, name=t) if isinstance(t, str) else t for t in taggers]
        for use in self.uses:
            load_tagger(use.tagger, **use.parameters)  # a wrong name is an error here, not in a worker

    def expand(self, batches: Any) -> Any:
        """Tag."""
        return batches | beam.ParDo(_TagBatches(self.uses)).with_output_types(Batch)


class _TagBatches(beam.DoFn):
    def __init__(self, uses: Sequence[TaggerConfig]) -> None:
        self.uses = list(uses)

    def setup(self) -> None:
        self.taggers: list[LoadedTagger] = [load_tagger(u.tagger, **u.parameters).named(u.name) for u in self.uses]

    def process(self, batch: Batch) -> Iterator[Batch]:
        table = batch.table
        for tagger in self.taggers:
            column, failures = tagger.attributes(batch)
            if failures:
                first = failures[0]
                raise DataError(f"{batch.shard}#{batch.first_row + first.row}: {tagger.label}: {first.reason}")
            fields = [*table.schema, pa.field(tagger.label, tagger.type)]
            table = pa.RecordBatch.from_arrays([*table.columns, column], schema=pa.schema(fields))
        yield Batch(table, shard=batch.shard, first_row=batch.first_row, locs=batch.locs)


class Filter(beam.PTransform):
    """Batches of the documents for which all rules are true.

    Args:
        where: `rule: SQL`, or one SQL string.

    Gives `kept`; the other documents, with the rules that dropped them in `why`, are the output "dropped".
    """

    def __init__(self, where: str | Mapping[str, str]) -> None:
        super().__init__()
        self.where = where

    def expand(self, batches: Any) -> Any:
        """Filter."""
        found = batches | beam.ParDo(_FilterBatches(self.where)).with_outputs("dropped", main="kept")
        found.kept.element_type = found.dropped.element_type = Batch
        return found


class _FilterBatches(beam.DoFn):
    def __init__(self, where: str | Mapping[str, str]) -> None:
        self.where = where

    def setup(self) -> None:
        self.bound: dict[str, Rules] = {}

    def process(self, batch: Batch) -> Iterator[Any]:
        schema = batch.table.schema
        rules = self.bound.setdefault(str(schema), Rules(self.where, schema))
        passed = rules.evaluate(batch.table).passed.all(axis=0)
        if passed.any():
            yield _take(batch, np.flatnonzero(passed))
        if not passed.all():
            yield beam.pvalue.TaggedOutput("dropped", _take(batch, np.flatnonzero(~passed)))


def _take(batch: Batch, rows: Any) -> Batch:
    return Batch(batch.table.take(pa.array(rows)), shard=batch.shard, first_row=batch.first_row, locs=batch.locs[rows])


class WriteDocuments(beam.PTransform):
    """One file a batch below `output`, named by the batch's shard and first row.

    Args:
        output: a folder. format: "parquet" (with attributes, if tagged) or "jsonl" (documents only).
    """

    def __init__(self, output: str, *, format: Literal["parquet", "jsonl"] = "parquet") -> None:
        super().__init__()
        self.output, self.format = output, format

    def expand(self, batches: Any) -> Any:
        """Write; gives the paths."""
        return batches | beam.Map(_write, output=self.output, format=self.format)


def _write(batch: Batch, *, output: str, format: str) -> str:
    stem = Path(output) / f"{batch.shard or 'batch'}-{batch.first_row:09d}"
    if format == "jsonl":
        path = stem.with_name(stem.name + ".jsonl.zst")
        write_lines(path, document_lines(batch))
    else:
        path = stem.with_name(stem.name + ".parquet")
        with paths.committing(path) as file:
            pq.write_table(pa.Table.from_batches([batch.table]), file, compression="zstd")
    return str(path)
