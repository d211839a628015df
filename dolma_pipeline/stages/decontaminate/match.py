"""The consumer that looks for items in texts: a file of matches a shard, which holds for any threshold."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.dedup.contamination import MATCHES, PLACES_TYPE
from dolma_pipeline.documents import Batch
from dolma_pipeline.io.tables import TableWriter
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.decontaminate.items import read_items, table_of
from dolma_pipeline.stages.index import SCAN, counts_of


@dataclass(frozen=True)
class Matching(Consumer):
    """Writes the matches of each shard.

    Args:
        items: the artifact of the benchmarks' items. ngram: words in an n-gram.
    """

    items: Artifact | None = None
    ngram: int = 13

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    @property
    def needs(self) -> frozenset[str]:
        """The items."""
        return frozenset({"decontaminate/items"})

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        assert self.items is not None
        num_items = len(read_items(process, self.items))
        table = table_of(process, self.items, self.ngram)
        return _Matching(process, self.artifact, shard, stack, table, self.ngram, num_items)


class _Matching(Feeder):
    def __init__(
        self,
        process: Process,
        artifact: Artifact,
        shard: ShardAt,
        stack: ExitStack,
        table: Any,
        ngram: int,
        num_items: int,
    ) -> None:
        self._artifact, self._name = artifact, layout.matches(shard.name)
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._writer = TableWriter(self._file, MATCHES, compression="zstd")
        self._table, self._ngram, self._num_items = table, ngram, num_items
        self._found = 0

    def add(self, feed: Feed) -> None:
        columns = batch_matches(feed.batch, self._table, ngram=self._ngram, num_items=self._num_items)
        self._found += len(columns[0])
        self._writer.write(columns)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._writer.close()
        return {
            "outputs": [output_record(self._artifact, self._name, self._file, rows=self._found)],
            "counts": {**counts_of(read), "bytes_in": read.num_bytes, "matches": self._found},
        }


def batch_matches(batch: Batch, table: Any, *, ngram: int, num_items: int) -> list[pa.Array]:
    """The matches of a batch, as columns of `MATCHES`.

    Args:
        table: `kernels.ngram_table.Table` with the same `ngram`. num_items: above every item of the table.
    """
    from dolma_pipeline.kernels.ngrams import find_matches

    found = find_matches(batch.text, table, ngram=ngram, num_items=num_items)
    rows = np.repeat(found.rows, np.diff(found.bounds))
    points = batch.spans(rows, found.starts, found.ends, np.ones(len(rows))).flatten()
    places = pa.StructArray.from_arrays(
        [points.field("start"), points.field("end")], fields=list(PLACES_TYPE.value_type)
    )
    return [
        pa.array(found.rows + batch.first_row),
        pa.array(found.items),
        pa.array(found.coverage),
        pa.array(found.runs),
        pa.array(found.ngrams),
        pa.array(found.wholes),
        pa.ListArray.from_arrays(pa.array(found.bounds.astype(np.int32)), places),
    ]
