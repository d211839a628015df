"""Batches of a shard, whatever its format: the one reader that every stage uses.

The same shard gives the same rows and the same batches each time; stages find attributes by row number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.formats import Reading, document_format
from dolma_pipeline.io.heads import first_bytes
from dolma_pipeline.io.jsonl import Failure, Report, damage_reason, read_lines
from dolma_pipeline.io.parquet_damage import open_or_lose
from dolma_pipeline.io.seems import seems
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.io.streams import Damaged, Source, decompressed
from dolma_pipeline.storage.copies import hold
from dolma_pipeline.storage.inputs import is_url, open_copy, open_random, open_stream

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class ShardReader:
    """The documents of a shard, in batches; iterate once.

    Args:
        shard: what to read. location: where its file is; default its path.
        report: called with each document that cannot be read, and once with a file that is lost.
        fields: our column -> the input's key or column.
        normalize: done to each text in this order: "nfc", "whitespace" (runs of blanks to one, lines stripped).

    Attributes:
        only: places (`Batch.locs`, ascending) of the documents that are wanted, set before the first batch; others may
            come too. None: all.
        sha256: hex digest of the raw bytes that were read, once all are; of a range, of its part of the file.
        lost: why the file could not be read to its end, or that it is of no known format; else empty.
    """

    def __init__(
        self,
        shard: Shard,
        location: str = "",
        *,
        report: Report,
        fields: Mapping[str, str] | None = None,
        normalize: Sequence[str] = (),
    ) -> None:
        self.location = location or shard.path
        self.shard, self.report, self.fields, self.normalize = shard, report, dict(fields or {}), tuple(normalize)
        self.only: Sequence[int] | None = None
        self.sha256: str | None = None
        self.lost = ""
        self._failures = 0

    def __iter__(self) -> Generator[Batch, None, None]:
        for batch in self._batches():
            yield _normalized(batch, self.normalize) if self.normalize else batch

    def _batches(self) -> Iterator[Batch]:
        shard = self.shard
        reading = document_format(shard.format).read(shard, report=self._note, fields=self.fields)
        reading.location, reading.only = self.location, self.only
        try:
            yield from reading
        except Damaged as damage:
            self._note(Failure(shard.path, damage_reason(damage), lost=True))
        self._look_at_format()
        self.sha256 = reading.sha256
        if self.sha256 is None:  # a format that does not hash on the way: a range is known by its whole file
            self.sha256 = _sha256(self.location)

    def _look_at_format(self) -> None:
        """A file of no known format is lost; who reads its start says so. Without a failure it is of a known one."""
        begins = not self.shard.start and (self._failures or self.shard.end is not None)
        if self.lost or not begins:
            return
        with open_stream(self.location) as file:
            finding = seems(first_bytes(file), name=self.shard.path)
        if finding is not None:
            self._note(Failure(self.shard.path, f"no known format: it seems to be {finding.what}", line=1, lost=True))

    def _note(self, failure: Failure) -> None:
        self._failures += 1
        if failure.lost:
            self.lost = self.lost or failure.reason
        self.report(failure)


class LinesReading(Reading):
    """The documents in the lines of a file, or of a range of its bytes."""

    def __iter__(self) -> Iterator[Batch]:
        """Its batches; the bytes are hashed on the way."""
        shard = self.shard
        with open_stream(self.location, max(0, (shard.start or 0) - 1)) as file:
            source = Source(file)
            if shard.start is None:
                pieces = decompressed(source)
            else:
                pieces = iter(lambda: source.read(1 << 20), b"")
            yield from read_lines(
                pieces,
                path=shard.path,
                shard=shard.name,
                report=self.report,
                fields=self.fields,
                start=shard.start or 0,
                end=shard.end,
                lines_before=shard.lines_before,
                only=self.only,
            )
            while source.read(1 << 20) and shard.start is None:
                pass  # what lies behind a damage belongs to the file's hash
            self.sha256 = source.sha256.hexdigest()


class ParquetReading(Reading):
    """The documents in the rows of a Parquet file, or of some of its row groups."""

    def __iter__(self) -> Iterator[Batch]:
        """Its batches."""
        from dolma_pipeline.io.parquet import open_parquet, read_parquet

        shard = self.shard
        # All of a whole file is wanted, and hashed: one request. Of a range its bytes and the footer are.
        with (open_copy if shard.start is None else open_random)(self.location) as file:
            parquet = open_or_lose(lambda: open_parquet(file), shard.path, self.report)
            if parquet is not None:
                if shard.start is not None:
                    hold(file, *_bytes_of_groups(parquet, range(shard.start, shard.end or 0)))
                yield from read_parquet(
                    parquet,
                    path=shard.path,
                    shard=shard.name,
                    source=shard.source,
                    report=self.report,
                    fields=self.fields,
                    row_groups=range(shard.start or 0, parquet.num_row_groups if shard.end is None else shard.end),
                )
                if shard.start is not None:
                    self.sha256 = _sha256_of_groups(file, parquet, range(shard.start, shard.end or 0))
            if shard.start is None and is_url(self.location):
                file.seek(0)
                self.sha256 = _sha256_of(file)


def _sha256_of_groups(file: BinaryIO, parquet: pq.ParquetFile, groups: range) -> str:
    """Hex hash of the bytes in which some row groups lie, and of what the footer says of them."""
    columns = _columns_of_groups(parquet, groups)
    first, last = _bytes_of_groups(parquet, groups)
    source = Source(file)
    source.sha256.update(repr([[column.path_in_schema, column.num_values] for column in columns]).encode())
    file.seek(first)
    left = last - first
    while left > 0 and (data := source.read(min(left, 1 << 20))):
        left -= len(data)
    return source.sha256.hexdigest()


def _columns_of_groups(parquet: pq.ParquetFile, groups: range) -> list[pq.ColumnChunkMetaData]:
    return [
        group.column(i)
        for group in (parquet.metadata.row_group(number) for number in groups)
        for i in range(group.num_columns)
    ]


def _bytes_of_groups(parquet: pq.ParquetFile, groups: range) -> tuple[int, int]:
    """The first byte of some row groups, and that behind their last."""
    columns = _columns_of_groups(parquet, groups)
    starts = [min(filter(None, (column.dictionary_page_offset, column.data_page_offset))) for column in columns]
    ends = (start + column.total_compressed_size for start, column in zip(starts, columns, strict=True))
    return min(starts, default=0), max(ends, default=0)


def _sha256(path: str) -> str:
    with open_stream(path) as file:
        return _sha256_of(file)


def _sha256_of(file: BinaryIO) -> str:
    source = Source(file)
    while source.read(1 << 20):
        pass
    return source.sha256.hexdigest()


def normalized(texts: list[str], steps: Sequence[str]) -> list[str]:
    """Texts as `ShardReader` gives them with these steps of `normalize`.

    Raises:
        DataError: there is no such step.
    """
    for step in steps:
        if step == "nfc":
            texts = [unicodedata.normalize("NFC", t) for t in texts]
        elif step == "whitespace":
            texts = ["\n".join(" ".join(line.split()) for line in t.split("\n")).strip() for t in texts]
        else:
            raise DataError(f"no normalization named {step!r}; there are nfc and whitespace")
    return texts


def _normalized(batch: Batch, steps: Sequence[str]) -> Batch:
    texts = normalized(batch.strings, steps)
    table = batch.table.set_column(COLUMNS.index("text"), "text", pa.array(texts, pa.string()))
    return Batch(table, shard=batch.shard, first_row=batch.first_row, locs=batch.locs)
