"""Rows of documents, fetched by their origins: gathered shard by shard, and given to whoever asked, in his order.

For whatever needs given documents of many shards: verification of pairs, deltas, examples. The origins stand in a
table of the run's folder that an earlier phase left; each shard is opened once for all who ask. A file a shard that
somebody asks of, in the cache. Cost: columns are read whole, text up to the last row wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.columns import Fields, documents_of, read_block
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, indexed

ORIGIN = "origin"
"""The column of a table of asks; others are of no matter here."""


@dataclass(frozen=True)
class Fetch(Phase):
    """Gathers rows; a task a shard that somebody asks of.

    Args:
        label: names it: `fetch/<label>`. asks: a table in the run's folder with a column `origin`, in any order and
            with repeats. after: names of artifacts and marks that must be made before.
        index: columns of the index. wanted: attribute columns, label and fields (None: all). text: the texts, too.
    """

    label: str = ""
    asks: str = ""
    after: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    wanted: tuple[tuple[str, tuple[str, ...] | None], ...] = ()
    text: bool = False

    @property
    def name(self) -> str:
        """`fetch/<label>`."""
        return f"fetch/{self.label}"

    @property
    def needs(self) -> frozenset[str]:
        """The index, and what `after` says."""
        return frozenset({layout.INDEX, *self.after})

    @property
    def digest(self) -> str:
        """What its records depend on: what is asked for, too."""
        return digest([super().digest, self.asks, self.index, self.wanted, self.text])

    def tasks(self, run: Run) -> Iterator[Task]:
        """The shards of the origins, each with its rows, ascending.

        Raises:
            DataError: an origin of no document of this run.
        """
        wanted = rows_by_shard(get_table(run.folder, self.asks, [ORIGIN]).column(ORIGIN).to_pylist())
        for shard in indexed(run):
            rows = wanted.pop(shard.name, None)
            if rows is None:
                continue
            if len(rows) and rows[-1] >= shard.rows:
                raise DataError(f"{shard.name}#{rows[-1]}: no such document; the shard has {shard.rows:,}.")
            yield Task(shard.name, len(rows), (shard, rows))
        if wanted:
            name, rows = min(wanted.items())
            raise DataError(f"{name}#{rows[0] if len(rows) else 0}: this run has no shard of that name.")

    def work(self, process: Process, task: Task) -> Work:
        """Gather the rows of one shard; `more` names the file."""
        shard, rows = task.payload
        fields: Mapping[str, Fields] = dict(self.wanted)
        table = read_block(process, Block(shard.name, (shard,)), index={"row", *self.index}, wanted=fields)
        table = table.take(pa.array(rows))
        if self.text:
            table = table.append_column("text", texts_of(process, shard, rows))
        name = self._file(process.run, shard.name)
        put_table(process.run.folder, name, table, compression="zstd")
        return Work(more={"file": name}, documents=len(rows))

    def _file(self, run: Run, shard: str) -> str:
        base = digest([self.digest, run.shards_digest])
        return layout.cache("fetched", base, f"{self.label}/{shard}.parquet")

    def rows(self, run: Run, origins: Sequence[str]) -> pa.Table:
        """What was fetched of these documents, a row an origin, in their order.

        Args:
            origins: some of those that were asked for.

        Raises:
            DataError: one that was not asked for.
        """
        wanted = rows_by_shard(origins)
        tables, first = list[pa.Table](), dict[str, int]()
        found: dict[str, NDArray[np.int64]] = {}
        at = 0
        for shard, rows in sorted(wanted.items()):
            table = get_table(run.folder, self._file(run, shard))
            found[shard] = table.column("row").to_numpy()
            missing = np.setdiff1d(rows, found[shard])
            if len(missing):
                raise DataError(f"{shard}#{missing[0]}: nobody had asked {self.name} for it.")
            tables.append(table)
            first[shard] = at
            at += table.num_rows
        places = []
        for origin in origins:
            shard, row = split_origin(origin)
            places.append(first[shard] + int(np.searchsorted(found[shard], row)))
        if not tables:
            return pa.table({ORIGIN: pa.array([], pa.string())})
        whole = pa.concat_tables(tables).take(pa.array(places, pa.int64()))
        return whole.add_column(0, ORIGIN, pa.array(origins, pa.string()))


def split_origin(origin: str) -> tuple[str, int]:
    """Shard and row of `source/path#row`.

    Raises:
        DataError: it is not an origin.
    """
    shard, mark, row = origin.rpartition("#")
    if not mark or not row.isascii() or not row.isdigit():
        raise DataError(f"'{origin}' is not the origin of a document; expected source/path#row.")
    return shard, int(row)


def rows_by_shard(origins: Iterable[str]) -> dict[str, NDArray[np.int64]]:
    """Shard -> rows of it, each once, ascending."""
    found: dict[str, set[int]] = {}
    for origin in origins:
        shard, row = split_origin(origin)
        found.setdefault(shard, set()).add(row)
    return {shard: np.array(sorted(rows), np.int64) for shard, rows in found.items()}


def texts_of(process: Process, shard: ShardAt, rows: NDArray[np.int64]) -> pa.Array:
    """The texts of some rows of a shard, ascending; it is read up to the last of them."""
    return pa.concat_arrays([pa.array([], pa.string()), *(texts for _, texts in text_batches(process, shard, rows))])


def text_batches(
    process: Process, shard: ShardAt, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
    """The same batch by batch, so that not all of them are in memory: rows, and their texts."""
    failures: list[Failure] = []
    with documents_of(process, shard, failures.append) as reader:
        for batch in reader:
            lo, hi = np.searchsorted(rows, [batch.first_row, batch.first_row + len(batch)])
            if lo < hi:
                yield rows[lo:hi], batch.table.column("text").take(pa.array(rows[lo:hi] - batch.first_row))
            if hi == len(rows):
                break
