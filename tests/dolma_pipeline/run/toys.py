"""Toy consumers over real small shards: what a reading does is tested with these, without any tagger or rule."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt

LENGTHS = pa.struct([pa.field("chars", pa.int64()), pa.field("first", pa.string())])
"""What the toy `Lengths` makes: a column like a tagger's."""


@dataclass(frozen=True)
class Toy(Consumer):
    """Collects what it is fed and writes it as JSON.

    label: names its file. wants: columns that it asks for. reads: whether it wants text. fails: at this text.
    records_it: whether it makes its artifact's records. after: what must be there. until: the row before which all lies
    that it wants.
    """

    label: str = "toy"
    wants: tuple[str, ...] = ()
    reads: bool = True
    fails: str = ""
    records_it: bool = True
    after: tuple[str, ...] = ()
    until: int | None = None

    @property
    def name(self) -> str:
        return self.label

    @property
    def reading(self) -> str:
        return "toys"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.after)

    @property
    def makes(self) -> frozenset[str]:
        return frozenset({self.label})

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        return dict.fromkeys(self.wants)

    @property
    def hands_on(self) -> str:
        return self.label.removeprefix("attributes/") if self.label.startswith("attributes/") else ""

    @property
    def records(self) -> bool:
        return self.records_it

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        return _Toy(process, self, shard, stack)


class _Toy(Feeder):
    def __init__(self, process: Process, consumer: Toy, shard: ShardAt, stack: ExitStack) -> None:
        self._consumer, self._name = consumer, f"{consumer.artifact.folder}/{shard.name}.json"
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._found: list[Any] = []
        self.wants_text, self.until = consumer.reads, consumer.until
        self._rows = shard.rows

    def add(self, feed: Feed) -> None:
        consumer = self._consumer
        for i, text in enumerate(feed.batch.strings):
            if consumer.fails and text == consumer.fails:
                raise DataError(f"{self._name}: cannot take '{text}'")
            shared = feed.shared("upper", lambda: [one.upper() for one in feed.batch.strings])
            columns = {label: feed.columns[label][i].as_py() for label in consumer.wants}
            self._found.append([feed.batch.first_row + i, shared[i], columns])

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._file.write(canonical({"found": self._found, "read": read.documents, "rows": self._rows}))
        return {"outputs": [], "counts": {"in": read.documents}}


@dataclass(frozen=True)
class Lengths(Consumer):
    """Makes the column `lengths`, as taggers do."""

    @property
    def hands_on(self) -> str:
        return "lengths"

    @property
    def reading(self) -> str:
        return "toys"

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        return _Lengths(process, self.artifact, shard, stack)


class _Lengths(Feeder):
    def __init__(self, process: Process, artifact: Artifact, shard: ShardAt, stack: ExitStack) -> None:
        self._artifact, self._name = artifact, layout.attributes("lengths", shard.name)
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._writer = attribute_writer(self._file, "lengths", LENGTHS)

    def add(self, feed: Feed) -> None:
        strings = feed.batch.strings
        arrays = [pa.array([len(one) for one in strings], pa.int64()), pa.array([one[:1] for one in strings])]
        column = pa.StructArray.from_arrays(arrays, fields=list(LENGTHS))
        self._writer.write(column, feed.batch)
        feed.columns["lengths"] = column

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._writer.close()
        return {"outputs": [output_record(self._artifact, self._name, self._file, rows=read.documents)]}
