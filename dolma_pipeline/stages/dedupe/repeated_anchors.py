"""Which anchors occur twice, and with that which texts are read again: by range of keys, then gathered by shard.

Order, rules and earlier steps play no part, so what is found around them serves all of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.ascending import ascending
from dolma_pipeline.dedup.repeats import tied
from dolma_pipeline.io.tables import TableWriter, get_range, get_table, in_key_range, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, blocks, indexed
from dolma_pipeline.stages.dedupe.ranges import portions, range_tasks

FOUND = pa.schema([pa.field("node", pa.int64()), pa.field("word", pa.uint32())])
"""Anchors that occur twice: document by number, and first word; ascending."""


@dataclass(frozen=True)
class RepeatedAnchors(Phase):
    """Anchors of one step that occur twice; a task a range of keys."""

    step: DedupeStepConfig | None = None

    @property
    def name(self) -> str:
        """`dedupe/anchors/<step>`."""
        assert self.step is not None
        return f"dedupe/anchors/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The anchors."""
        assert self.step is not None
        return frozenset({f"dedupe/{self.step.name}"})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Ranges of keys."""
        assert self.step is not None
        return range_tasks(run, f"dedupe/{self.step.name}", "anchors")

    def work(self, process: Process, task: Task) -> Work:
        """Find those of one range; `more` names the file."""
        assert self.step is not None
        run = process.run
        shards, tables = list[int](), list[pa.Table]()
        for shard in indexed(run):
            file = layout.anchors(self.step.name, shard.name)
            tables.append(get_table(run.folder, file, filters=in_key_range("key", *task.payload)))
            shards.append(shard.first)
        keys = np.concatenate([np.zeros(0, np.uint64), *(table.column("key").to_numpy() for table in tables)])
        found = tied(keys)
        name = layout.cache("repeats", digest([self.digest, run.shards_digest]), f"anchors/{task.key}.parquet")
        at = count = 0
        with ExitStack() as stack:
            writer = TableWriter(stack.enter_context(run.folder.committing(name)), FOUND, compression="none")
            for first, table in zip(shards, tables, strict=True):
                some = found[at : at + table.num_rows]
                at += table.num_rows
                rows, words = (table.column(column).to_numpy()[some] for column in ("row", "word"))
                order = _in_order(rows, words)
                writer.write([pa.array(rows[order].astype(np.int64) + first), pa.array(words[order])])
                count += len(rows)
            writer.close()
        return Work(more={"file": name, "anchors": count}, documents=len(keys), files=[name])


@dataclass(frozen=True)
class WantedAnchors(Phase):
    """The same by shard; a task a block of shards.

    Args:
        found: the phase that found them.
    """

    step: DedupeStepConfig | None = None
    found: RepeatedAnchors | None = None

    @property
    def name(self) -> str:
        """`dedupe/wanted/<step>`."""
        assert self.step is not None
        return f"dedupe/wanted/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The anchors that occur twice."""
        assert self.found is not None
        return frozenset({self.found.name})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards."""
        for block in blocks(indexed(run)):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Gather one block; `more` says of each shard its file, how many anchors there are, and a digest of them; no
        file where there is none."""
        assert self.found is not None
        block: Block = task.payload
        run = process.run
        ranges = [record["more"]["file"] for record in read_records(run, self.found, self.found.tasks(run))]
        base = digest([self.digest, run.shards_digest])
        wanted: dict[str, dict[str, Any]] = {}
        for some in portions(block):
            parts = [
                get_range(run.folder, file, "node", some[0].first, some[-1].first + some[-1].rows) for file in ranges
            ]
            table = pa.concat_tables(parts)
            nodes, words = table.column("node").to_numpy(), table.column("word").to_numpy()
            if len(parts) > 1:
                order = _in_order(nodes, words)
                nodes, words = nodes[order], words[order]
            for shard in some:
                lo, hi = np.searchsorted(nodes, [shard.first, shard.first + shard.rows])
                rows = (nodes[lo:hi] - shard.first).astype(np.int32)
                name = layout.cache("repeats", base, f"wanted/{shard.name}.parquet") if hi > lo else None
                if name is not None:
                    put_table(run.folder, name, pa.table({"row": rows, "word": words[lo:hi].astype(np.int32)}))
                content = hashlib.sha256(rows.tobytes() + words[lo:hi].tobytes()).hexdigest()
                wanted[shard.name] = {"file": name, "anchors": int(hi - lo), "digest": content}
        files = [one["file"] for one in wanted.values() if one["file"]]
        return Work(more={"shards": wanted}, documents=block.rows, files=files)


def _in_order(documents: NDArray[np.integer[Any]], words: NDArray[np.uint32]) -> NDArray[np.integer[Any]]:
    """The order of anchors by document, and then by word; documents: rows or numbers, less than 2^32 apart."""
    if len(words) == 0:
        return np.zeros(0, np.int64)
    own = (documents - documents.min()).astype(np.uint64)
    width = np.uint64(int(words.max()).bit_length())
    return ascending(own << width | words)[1]
