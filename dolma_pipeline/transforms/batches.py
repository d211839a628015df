"""Batch level, for people who compose: `PCollection[Batch]` in and out.

    read = p | ReadDocuments("data/**/*.jsonl.gz", source="web")
    good = read | Tag("gopher_v1") | Filter({"long": "gopher_v1.word_count > 50"})
    good | "write" >> WriteDocuments("kept")
    good.dropped | "write dropped" >> WriteDocuments("dropped")

Each gives a `PCollection[Batch]`, which carries what else came out as an attribute: `read.failures`, `good.dropped`.
Batches cross workers as Arrow IPC: a slice takes its own bytes along, not its parent's.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.coders.typecoders import registry
from apache_beam.metrics.metric import Metrics
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.documents import COLUMNS, Batch
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure, document_lines, write_lines
from dolma_pipeline.io.shards import Shard, plan_shards
from dolma_pipeline.registry import UserModule, install_modules, load_tagger, read_modules
from dolma_pipeline.sql import Rules, rule_schema, rule_table
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
        """No: equal batches may be cut from their buffers in other ways. A batch cannot be a key."""
        return False

    def to_type_hint(self) -> type[Batch]:
        """Batches."""
        return Batch


registry.register_coder(Batch, BatchCoder)


def _with_failures(found: Any) -> Any:
    """The batches, with the failures (`PCollection[Failure]`) as an attribute."""
    found.batches.element_type, found.failures.element_type = Batch, Failure
    found.batches.failures = found.failures
    return found.batches


def _failed(name: str, shard: str, failures: Sequence[Failure]) -> Iterator[Any]:
    if failures:
        first = failures[0]
        place = first.path if first.line is None else f"{first.path}:{first.line}"
        logging.getLogger(__name__).warning(
            "%s: %d documents of shard %s failed; the first: %s: %s", name, len(failures), shard, place, first.reason
        )
        Metrics.counter(name, "failed").inc(len(failures))
    for failure in failures:
        yield beam.pvalue.TaggedOutput("failures", failure)


class ReadDocuments(beam.PTransform):
    """Documents as batches of about 1,000.

    Args:
        documents: globs, paths, URLs or `@files.txt`. source: the name in their origins.
        split_bytes: larger plain files are read in ranges.

    Lines that give no document are `failures` (a `PCollection[Failure]`) of what comes out; they are also logged, and
    counted by Beam as `ReadDocuments/failed`.

    Raises:
        UsageError: when applied to a pipeline: a pattern that matches nothing.
    """

    def __init__(self, documents: str | Sequence[str], *, source: str, split_bytes: int = 256_000_000) -> None:
        super().__init__()
        self.patterns = [documents] if isinstance(documents, str) else list(documents)
        self.source, self.split_bytes = source, split_bytes

    def expand(self, begin: Any) -> Any:
        """Read."""
        shards = plan_shards({self.source: self.patterns}, split_bytes=self.split_bytes)
        locate = paths.Locator(self.patterns)
        places = [(shard, locate(shard.path)) for shard in shards]
        spread = begin | beam.Create(places) | beam.Reshuffle()
        return _with_failures(spread | beam.FlatMap(_read).with_outputs("failures", main="batches"))


def _read(place: tuple[Shard, str]) -> Iterator[Any]:
    shard, location = place
    failures: list[Failure] = []
    yield from ShardReader(shard, location, report=failures.append)
    yield from _failed("ReadDocuments", shard.name, failures)


class Tag(beam.PTransform):
    """Attributes as further columns of each batch, one struct a tagger. Names travel, not objects.

    Args:
        taggers: names, or `TaggerConfig`s with parameters and a name of their own.
        modules: where taggers of yours are: importable modules, or `./file.py`, whose text travels to the workers.

    A document on which a tagger raises is a null row of that column (no rule is true of it), and one of the `failures`
    (a `PCollection[Failure]`) of what comes out; they are also logged, and counted by Beam as `Tag/failed`.

    Raises:
        UnknownNameError: no such tagger, or parameter of it. UsageError: two columns of one name.
    """

    def __init__(self, *taggers: str | TaggerConfig, modules: Sequence[str] = ()) -> None:
        super().__init__()
        self.modules = read_modules(modules)
        install_modules(self.modules, keep=True)
        self.uses = [TaggerConfig(tagger=t, name=t) if isinstance(t, str) else t for t in taggers]
        for use in self.uses:
            load_tagger(use.tagger, **use.parameters)  # a wrong name is an error here, not in a worker
        names = [use.name for use in self.uses]
        for name in names:
            if name in COLUMNS or names.count(name) > 1:
                raise UsageError(f"Tag: two columns named '{name}'. Name one of them: TaggerConfig(tagger=…, name=…).")

    def expand(self, batches: Any) -> Any:
        """Tag."""
        return _with_failures(
            batches | beam.ParDo(_TagBatches(self.uses, self.modules)).with_outputs("failures", main="batches")
        )


class _TagBatches(beam.DoFn):
    def __init__(self, uses: Sequence[TaggerConfig], modules: Sequence[UserModule]) -> None:
        self.uses, self.modules = list(uses), tuple(modules)

    def setup(self) -> None:
        install_modules(self.modules, keep=True)
        self.taggers: list[LoadedTagger] = [load_tagger(u.tagger, **u.parameters).named(u.name) for u in self.uses]

    def process(self, batch: Batch) -> Iterator[Any]:
        table, ids, failures = batch.table, batch.table.column("id"), []
        for tagger in self.taggers:
            column, row_failures = tagger.attributes(batch)
            failures += [
                Failure(
                    batch.shard,
                    f"{tagger.label}: {one.reason}",
                    line=int(batch.locs[one.row]),
                    id=ids[one.row].as_py(),
                )
                for one in row_failures
            ]
            fields = [*table.schema, pa.field(tagger.label, tagger.type)]
            table = pa.RecordBatch.from_arrays([*table.columns, column], schema=pa.schema(fields))
        yield Batch(table, shard=batch.shard, first_row=batch.first_row, locs=batch.locs)
        yield from _failed("Tag", batch.shard, failures)


class Filter(beam.PTransform):
    """Batches of the documents for which all rules are true.

    Args:
        where: `rule: SQL`, or one SQL string.

    The other documents are the `dropped` of what comes out (which is itself its `kept`). Both get a column `origin`
    (`source/path#row`: rows no longer follow each other), and the dropped ones `why`: the names of the rules that were
    not true.
    """

    def __init__(self, where: str | Mapping[str, str]) -> None:
        super().__init__()
        self.where = where

    def expand(self, batches: Any) -> Any:
        """Filter."""
        found = batches | beam.ParDo(_FilterBatches(self.where)).with_outputs("dropped", main="kept")
        found.kept.element_type = found.dropped.element_type = Batch
        found.kept.kept, found.kept.dropped = found.kept, found.dropped
        return found.kept


class _FilterBatches(beam.DoFn):
    def __init__(self, where: str | Mapping[str, str]) -> None:
        self.where = where

    def setup(self) -> None:
        self.bound: dict[str, Rules] = {}

    def process(self, batch: Batch) -> Iterator[Any]:
        table = batch.table
        if "origin" not in table.schema.names:
            table = table.append_column("origin", pa.array(batch.origins(), pa.string()))
        key = str(table.schema)
        if key not in self.bound:
            others = {field.name: field.type for field in table.schema if field.name not in COLUMNS}
            self.bound[key] = Rules(self.where, rule_schema(others))
        rules = self.bound[key]
        source = batch.shard.partition("/")[0] or None
        true = rules.evaluate(rule_table(pa.Table.from_batches([table]), source, rules.columns)).passed
        passed = true.all(axis=0)
        if passed.any():
            yield _take(batch, table, np.flatnonzero(passed))
        if not passed.all():
            rows = np.flatnonzero(~passed)
            names = np.array(rules.names, object)
            why = pa.array([names[~true[:, row]].tolist() for row in rows.tolist()], pa.list_(pa.string()))
            cut = _take(batch, table, rows)
            cut.table = cut.table.append_column("why", why)
            yield beam.pvalue.TaggedOutput("dropped", cut)


def _take(batch: Batch, table: pa.RecordBatch, rows: NDArray[np.int64]) -> Batch:
    return Batch(table.take(pa.array(rows)), shard=batch.shard, first_row=batch.first_row, locs=batch.locs[rows])


class WriteDocuments(beam.PTransform):
    """One file a batch below `output`, named by the batch's shard and first row.

    A batch without a shard is named by its documents; equal ones make one file. Two collections that came from the
    same batches (kept and dropped) go to two folders.

    Args:
        output: a folder. format: "parquet" (all columns, with attributes if tagged) or "jsonl" (documents only).

    Raises:
        UsageError: another format.
    """

    def __init__(self, output: str, *, format: Literal["parquet", "jsonl"] = "parquet") -> None:
        super().__init__()
        if format not in ("parquet", "jsonl"):
            raise UsageError(f"WriteDocuments: no format named {format!r}; there are parquet and jsonl.")
        self.output, self.format = output, format

    def expand(self, batches: Any) -> Any:
        """Write; gives the paths."""
        return batches | beam.Map(_write, output=self.output, format=self.format).with_output_types(str)


def _write(batch: Batch, *, output: str, format: str) -> str:
    name = f"{batch.shard}-{batch.first_row:09d}" if batch.shard else f"batch-{_content_key(batch)}"
    stem = Path(output) / name
    if format == "jsonl":
        path = stem.with_name(stem.name + ".jsonl.zst")
        write_lines(path, document_lines(batch))
    else:
        path = stem.with_name(stem.name + ".parquet")
        with paths.committing(path) as file:
            pq.write_table(pa.Table.from_batches([batch.table]), file, compression="zstd")
    return str(path)


def _content_key(batch: Batch) -> str:
    return hashlib.sha256(b"".join(document_lines(batch))).hexdigest()[:16]
