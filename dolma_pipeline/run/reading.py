"""One reading of the text for all consumers that want it: a task a shard.

A shard is opened once; each batch goes through all feeders in turn. Their files are committed together when the
shard was read, then the record is written. A shard of which nobody wants the text is not opened, and one of which
nobody wants the rest is not read to its end: what was read is then held against the index, in place of the file's hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.run import shards
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import close, is_finished
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt


@dataclass(frozen=True)
class Reading(Phase):
    """Consumers that read together.

    Args:
        consumers: in the order in which a batch goes through them.
    """

    consumers: tuple[Consumer, ...] = ()

    @classmethod
    def of(cls, consumers: Sequence[Consumer]) -> Reading:
        """The reading of these consumers."""
        artifacts = {one.artifact.name: one.artifact for one in consumers}
        return cls(tuple(artifacts.values()), tuple(consumers))

    @property
    def name(self) -> str:
        """What its consumers call it."""
        return "+".join(dict.fromkeys(one.reading for one in self.consumers))

    @property
    def needs(self) -> frozenset[str]:
        """All that its consumers need."""
        return frozenset().union(*(one.needs for one in self.consumers))

    @property
    def makes(self) -> frozenset[str]:
        """All that its consumers make."""
        return frozenset().union(*(one.makes for one in self.consumers))

    def tasks(self, run: Run) -> Iterator[Task]:
        """Shards that some consumer has not done; the payload says which consumers, by number."""
        done = [gathered(run, one.artifact, but=self) if one.records else {} for one in self.consumers]
        indexed = next((found for one, found in zip(self.consumers, done, strict=True) if one.name == "index"), None)
        for shard in shards.indexed(run) if indexed is None else shards.listed(run):
            left = tuple(number for number, found in enumerate(done) if shard.name not in found)
            if indexed and shard.name in indexed:  # the others are to see what the index saw
                shard = replace(shard, sha256=indexed[shard.name]["inputs"][0]["sha256"])
            if left:
                yield Task(shard.name, max(1, shard.shard.bytes), (shard, left))

    def work(self, process: Process, task: Task) -> Work:
        """Read one shard."""
        shard, left = task.payload
        consumers = [self.consumers[number] for number in left]
        with ExitStack() as stack:
            feeders = [one.start(process, shard, stack) for one in consumers]
            read = ShardRead(shard.rows, shard.num_bytes, sha256=shard.sha256)
            if any(feeder.wants_text for feeder in feeders):
                read = _feed(process, shard, consumers, feeders)
            given = [feeder.close(read) for feeder in feeders]
        inputs = [shard.input(read.sha256)]
        records: dict[str, list[dict[str, Any]]] = {}
        more: dict[str, Any] = {}
        files: list[str] = []
        for consumer, closed in zip(consumers, given, strict=True):
            found = {key: value for key, value in closed.items() if key != "files"}
            files += closed.get("files", ())
            if consumer.records:
                records[consumer.artifact.name] = [{"shard": shard.name, "inputs": inputs, **found}]
            else:
                more[consumer.name] = found
        return Work(records, more, read.documents, read.num_bytes, files)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Close the artifacts that are finished with it."""
        closing = [one.artifact for one in self.consumers if one.closes]
        if not closing:
            return
        made: dict[str, list[Mapping[str, Any]]] = {artifact.name: [] for artifact in closing}
        for record in records:
            for name, found in record["records"].items():
                if name in made:
                    made[name].extend(found)
        names = shards.names(run)
        for artifact in closing:
            if is_finished(run.folder, artifact, run.shards_digest):
                continue
            before = gathered(run, artifact, but=self)
            all_records = {**before, **{one["shard"]: one for one in made[artifact.name]}}
            close(run.folder, artifact, all_records.values(), shards_digest=run.shards_digest, expected=names)


def _feed(process: Process, shard: ShardAt, consumers: Sequence[Consumer], feeders: Sequence[Feeder]) -> ShardRead:
    """Hand all batches of a shard to the feeders that want them."""
    from dolma_pipeline.run.columns import AttributeColumns, attribute_types, documents_of, read_index

    failures: list[Failure] = []
    made_here = {one.hands_on for one in consumers}
    # Consumers say what the edits of any source read; one source need not bring what another one does.
    there = attribute_types(process, shard.source).keys() - made_here
    wanted = {label: f for label, f in _united(one.columns for one in consumers).items() if label in there}
    attributes = AttributeColumns(process, shard, wanted)
    wanting = [feeder for feeder in feeders if feeder.wants_text]
    until = _until(shard, wanting)
    index = read_index(process.run, shard, ["id", "bytes"]) if until is not None else None
    documents = num_bytes = 0
    with documents_of(process, shard, failures.append) as reader, closing(iter(reader)) as batches:
        for batch in batches:
            if index is not None:
                _check_against_index(shard, batch, index)
            feed = Feed(batch, attributes.take(batch))
            for feeder in wanting:
                feeder.add(feed)
            size = int(batch.text.offsets[-1] - batch.text.offsets[0])
            documents, num_bytes = documents + len(batch), num_bytes + size
            process.log.add("progress", documents=len(batch), bytes=size)
            if until is not None and documents >= until:
                attributes.close()
                return ShardRead(documents, num_bytes, tuple(failures), shard.sha256)
    attributes.finish(documents)
    sha256 = reader.sha256 or ""
    if shard.sha256 and sha256 and sha256 != shard.sha256:
        raise _changed(shard, "sha256 is another")
    return ShardRead(documents, num_bytes, tuple(failures), sha256, reader.lost)


MOST_READ = 0.75
"""Of a shard's documents: where more are wanted, all are read, for the file's hash says more than its index."""


def _until(shard: ShardAt, wanting: Sequence[Feeder]) -> int | None:
    """The row before which all texts lie that anyone wants; None where the shard is read to its end."""
    ends = [shard.rows if feeder.until is None else feeder.until for feeder in wanting]
    return max(ends) if shard.sha256 and max(ends) <= MOST_READ * shard.rows else None


def _check_against_index(shard: ShardAt, batch: Batch, whole: pa.Table) -> None:
    """The documents of a batch must be those that the shard's index has at their place: by id and bytes of text."""
    index = whole.slice(batch.first_row, len(batch))
    sizes = np.diff(batch.text.offsets)
    ids = batch.table.column("id")
    if len(index) != len(batch) or (index.column("bytes").to_numpy() != sizes).any():
        raise _changed(shard, "documents are others")
    if not index.column("id").combine_chunks().cast(pa.string()).equals(ids.cast(pa.string())):
        raise _changed(shard, "documents are others")


def _changed(shard: ShardAt, what: str) -> DataError:
    return DataError(
        f"{shard.location}: the file was changed (its {what}) since this run indexed it. "
        "Put the old file back, or give it another name, or start in another output folder."
    )


def _united(wishes: Iterable[Mapping[str, frozenset[str] | None]]) -> dict[str, frozenset[str] | None]:
    """All columns wanted, with the fields that anyone wants."""
    found: dict[str, frozenset[str] | None] = {}
    for wish in wishes:
        for label, fields in wish.items():
            before = found.get(label, frozenset())
            found[label] = None if fields is None or before is None else before | fields
    return found
