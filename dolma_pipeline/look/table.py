"""A table a source, so that a look at a million documents opens a few files and not seven thousand.

Derived and removable: `cache/table/<digest>/<source>-<number>.parquet`, some 10^6 rows a file, in row groups of at
most 131,072 that are the same in all groups of columns. A group of columns (an attribute, the verdicts, …) has the
digest of what it is made from, so another threshold makes verdicts anew and leaves the rest. A group is made when it
is first asked for, by the process that asks. Cost: to make, 0.3 ms a shard and group; then 10 ns a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from dolma_pipeline.errors import DataError
from dolma_pipeline.look.folder import SourceRows
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.shards import Block
from dolma_pipeline.storage.folder import RunFolder

KIND = "table"
FORMAT = 1
"""Of the table's files: another number makes them anew."""
FILE_ROWS = 1 << 20
ROW_GROUP_ROWS = 131_072


@dataclass(frozen=True)
class Group:
    """Columns of one source that are made together.

    source: whose. key: what they are made from, plain JSON. make: the columns of a block's documents, in order.
    """

    source: SourceRows
    key: object
    make: Callable[[Block], pa.Table]

    @cached_property
    def folder(self) -> str:
        """Where its files are."""
        return layout.cache(KIND, digest([FORMAT, FILE_ROWS, ROW_GROUP_ROWS, self.source.digest, self.key]))

    def name(self, number: int) -> str:
        """One of its files."""
        return f"{self.folder}/{self.source.name}-{number:05d}.parquet"


Wanted = tuple[Group, Sequence[str] | None]
"""A group, and the columns that are wanted of it (of a struct: `column.field`); None: all."""


class Table:
    """The tables of a run's sources.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._there = {entry.name for entry in folder.list(f"{layout.CACHE}/{KIND}")}

    def chunks(self, wanted: Sequence[Wanted]) -> Iterator[pa.Table]:
        """Columns of several groups of one source side by side, row group by row group.

        Raises:
            DataError: a file of the run that is gone or damaged.
        """
        for group, _ in wanted:
            self._ensure(group)
        for number in range(len(_files(wanted[0][0].source))):
            with ExitStack() as stack:
                files = [stack.enter_context(self._folder.random(group.name(number))) for group, _ in wanted]
                readers = [(pq.ParquetFile(file), names) for file, (_, names) in zip(files, wanted, strict=True)]
                for at in range(readers[0][0].num_row_groups):
                    columns: dict[str, pa.ChunkedArray] = {}
                    for reader, names in readers:
                        part = reader.read_row_group(at, columns=names, use_threads=False)
                        columns |= dict(zip(part.column_names, part.columns, strict=True))
                    yield pa.table(columns)

    def columns(self, group: Group, names: Sequence[str] | None = None) -> pa.Table:
        """Whole columns of a group; default all."""
        return pa.concat_tables(list(self.chunks([(group, names)])))

    def _ensure(self, group: Group) -> None:
        for number, own in enumerate(_files(group.source)):
            if (name := group.name(number)) in self._there:
                continue
            with self._folder.committing(name) as file:
                writer: pq.ParquetWriter | None = None
                for block in own:
                    table = group.make(block)
                    if table.num_rows != block.rows:
                        raise DataError(
                            f"{block.shards[0].name}: {table.num_rows:,} rows where the index has {block.rows:,} "
                            "documents. Run again: what does not fit is made anew."
                        )
                    writer = writer or pq.ParquetWriter(file, table.schema, compression="none", use_dictionary=False)
                    writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                assert writer is not None
                writer.close()
            self._there.add(name)


def _files(source: SourceRows) -> list[list[Block]]:
    """A source's blocks by file."""
    found: list[list[Block]] = []
    rows = 0
    for block in source.blocks:
        if not found or rows + block.rows > FILE_ROWS:
            found.append([])
            rows = 0
        found[-1].append(block)
        rows += block.rows
    return found


def shard_columns(folder: RunFolder, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns (default all) of one of the run's small Parquet files, without the overhead of a data set.

    Raises:
        DataError: it is not there, or damaged.
    """
    try:
        with folder.random(name) as file:
            return pq.ParquetFile(file).read(columns=None if columns is None else list(columns), use_threads=False)
    except FileNotFoundError:
        raise DataError(f"{folder.url}/{name}: gone. Run the recipe again; it is made anew.") from None
    except pa.ArrowException as error:
        raise DataError(f"{folder.url}/{name}: damaged ({error}). Delete it and run the recipe again.") from error
