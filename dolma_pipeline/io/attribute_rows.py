"""Which rows of a file's attributes belong to a range of the file.

Documents are read in ranges (`io.shards`), attributes made elsewhere are one file for the whole document file. A row of
them is a document, and how many documents come before a range is known only when all before it has been read: lines may
be blank or fail. But attributes have as many rows as there are documents. So if they have as many rows as the document
file has lines (Parquet: rows), each line must be a document, and a range starts at the row of its first line; the
reader then finds a line that is none by the rows left over. Otherwise the documents of the ranges before are counted,
once in a process, by the reader that all stages use.
Cost: of Parquet nothing, of lines a look for newlines in the last range; else one reading of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from dolma_pipeline.errors import MisalignedError
from dolma_pipeline.io import paths
from dolma_pipeline.io.attribute_parquet import parquet_errors
from dolma_pipeline.io.attributes import num_attribute_rows
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard

_READ = 1 << 20


class FileRanges:
    """The ranges of one document file.

    Args:
        ranges: all of them. fields: our column -> the input's key or column.
    """

    def __init__(self, ranges: Sequence[Shard], *, fields: Mapping[str, str] | None = None) -> None:
        self.ranges = sorted(ranges, key=lambda shard: shard.start or 0)
        self.fields = dict(fields or {})
        self._numbers = {shard.name: i for i, shard in enumerate(self.ranges)}
        self._counts: dict[int, int] = {}

    def rows(self, shard: Shard, attributes: Path) -> range:
        """The rows of the file's attributes that belong to one of the ranges.

        Raises:
            MisalignedError: more rows than lines, or another number of them than of documents.
        """
        have, number = num_attribute_rows(attributes), self._numbers[shard.name]
        most = self._starts[-1]
        if have == most:
            return range(self._starts[number], self._starts[number + 1])
        kind = "rows" if shard.format == "parquet" else "lines"
        if have > most:
            raise MisalignedError(
                f"{attributes}: {have} rows, but {shard.path} has {most} {kind}. Attributes have a row a document."
            )
        first = sum(self._documents(i) for i in range(number))
        stop = first + self._documents(number)
        is_last = number == len(self.ranges) - 1
        if stop > have or (is_last and stop < have):
            raise MisalignedError(
                f"{attributes}: {have} rows, but {shard.path} has {'' if is_last else 'at least '}{stop} documents. "
                "Attributes have a row a document."
            )
        return range(first, stop)

    @cached_property
    def _starts(self) -> list[int]:
        """Lines (Parquet: rows) of the file before each range, and in all."""
        last = self.ranges[-1]
        if last.format == "parquet":
            return _parquet_starts(self.ranges)
        return [*(shard.lines_before for shard in self.ranges), last.lines_before + _lines_of(last)]

    def _documents(self, number: int) -> int:
        if number not in self._counts:
            reader = ShardReader(self.ranges[number], report=_reported_by_its_stage, fields=self.fields)
            self._counts[number] = sum(map(len, reader))
        return self._counts[number]


def _reported_by_its_stage(failure: Failure) -> None:
    """Lines that are no documents are told where their range is read, not where it is counted."""


def _parquet_starts(ranges: Sequence[Shard]) -> list[int]:
    path = ranges[-1].path
    with parquet_errors(path), paths.storage_of(path).open(path) as file:
        metadata = pq.ParquetFile(file).metadata
    starts = [0]
    for i in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(i).num_rows)
    return [*(starts[shard.start or 0] for shard in ranges), starts[-1]]


def _lines_of(shard: Shard) -> int:
    """Lines that start in a range of a plain file: after each newline from the byte before it to its last but one."""
    start, left = shard.start or 0, shard.bytes
    lines = 0 if start else 1
    with paths.storage_of(shard.path).open(shard.path) as file:
        file.seek(max(0, start - 1))
        left -= 0 if start else 1
        while left > 0 and (piece := file.read(min(_READ, left))):
            lines += piece.count(b"\n")
            left -= len(piece)
    return lines
