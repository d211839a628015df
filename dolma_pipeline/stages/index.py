"""The index: what rules, orders and counts ask of a document, beside its text. Made by the first reading.

Row, line, id, metadata, dates, the document's own source, code points, bytes, and 128 bits of hash (the key of exact
duplicates). With it stand the lines that gave no document, in `failed/index/`, and whether a file was read to its
end. Cost: 0.45 ms a MB of text, 60 to 70 bytes a document on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.io.formats import document_format
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.tables import TableWriter
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import INDEX
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt, listed
from dolma_pipeline.run.stage import Stage, maker_of, module_files
from dolma_pipeline.storage.folder import RunFolder

SCAN = "scan"
"""The first reading of a run."""


class IndexStage(Stage):
    """What every other stage stands on; it has no section and no command of its own."""

    name = "index"
    summary = "what is known of each document beside its text"

    def used(self, process: Process) -> bool:
        """Whether any other stage is."""
        return bool(process.run.recipe.stages())

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`index`."""
        found = index_artifact(process.run.recipe, foreign_formats(process))
        makers = {maker_of(process, source): None for source in process.run.recipe.sources}
        made = sorted({name for one in makers if one is not None for name in one.document_artifacts(process).values()})
        return [replace(found, needs=tuple(known[name] for name in made))]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """One consumer."""
        return [Index(artifact) for artifact in left.values()]


def foreign_formats(process: Process) -> dict[str, dict[str, str]]:
    """Source -> the formats of its files that a module of the recipe brought, with the hash of that module's file."""

    def look() -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for source, name in sorted({(one.source, one.shard.format) for one in listed(process.run)}):
            files = module_files(process, f"format {name}", type(document_format(name)).__module__)
            if files:
                found.setdefault(source, {}).update(files)
        return found

    return process.kept("foreign formats", look)


def index_artifact(recipe: Recipe, formats: Mapping[str, Mapping[str, str]]) -> Artifact:
    """The index of a recipe's documents: how they are read is all that it depends on.

    Args:
        formats: as `foreign_formats` gives them.
    """
    own: dict[str, dict[str, Any]] = {}
    for name, source in recipe.sources.items():
        fields = {f"sources.{name}.fields": dict(source.fields)} if source.fields else {}
        if found := {**fields, **formats.get(name, {})}:
            own[name] = found
    reads = {"normalize": list(recipe.normalize)} if recipe.normalize else {}
    return Artifact("index", "index", reads, own, growing=True, sources=tuple(recipe.sources))


@dataclass(frozen=True)
class Index(Consumer):
    """Writes the index of each shard."""

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    @property
    def needs(self) -> frozenset[str]:
        """Documents that other stages make."""
        return frozenset(need.name for need in self.artifact.needs)

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        return _Indexing(process.run.folder, self.artifact, shard, stack)


class _Indexing(Feeder):
    def __init__(self, folder: RunFolder, artifact: Artifact, shard: ShardAt, stack: ExitStack) -> None:
        self._folder, self._artifact, self._shard = folder, artifact, shard
        self._file = stack.enter_context(folder.committing(layout.index(shard.name)))
        self._writer = TableWriter(self._file, INDEX, compression="zstd", dictionary=("document_source",))

    def add(self, feed: Feed) -> None:
        batch = feed.batch
        keys = feed.shared("text keys", lambda: text_keys(batch))
        column = batch.table.column
        self._writer.write(
            [
                pa.array(np.arange(batch.first_row, batch.first_row + len(batch), dtype=np.int64)),
                pa.array(np.asarray(batch.locs, np.int64)),
                column("id"),
                column("added"),
                column("created"),
                column("source"),
                column("metadata"),
                pc.utf8_length(column("text")).cast(pa.int64()).fill_null(0),
                pa.array(np.diff(batch.text.offsets).astype(np.int64)),
                pa.array(keys.hi),
                pa.array(keys.lo),
            ]
        )

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._writer.close()
        if read.failures:
            self._folder.write(layout.failed("index", self._shard.name), failure_lines(read.failures))
        name = layout.index(self._shard.name)
        return {
            "outputs": [output_record(self._artifact, name, self._file, rows=read.documents)],
            "counts": {**counts_of(read), "bytes_in": read.num_bytes, "lost_files": int(bool(read.lost))},
            **({"lost": read.lost} if read.lost else {}),
        }


def counts_of(read: ShardRead, *, failed: int = 0) -> dict[str, int]:
    """in, kept, dropped, failed of a reading; failed: documents that were read and then failed."""
    unread = len(read.failures)
    return {
        "in": read.documents + unread,
        "kept": read.documents - failed,
        "dropped": 0,
        "failed": unread + failed,
    }


def failure_lines(failures: Sequence[Failure]) -> bytes:
    """Failures as JSON lines, in the order of the input."""
    ordered = sorted(failures, key=lambda one: (one.line or 0, one.row or 0, one.byte or 0, one.reason))
    return b"".join(_without_nulls(failure) for failure in ordered)


def _without_nulls(failure: Failure) -> bytes:
    known = {key: value for key, value in asdict(failure).items() if value is not None and value is not False}
    return orjson.dumps(known, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
