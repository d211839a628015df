"""Batches of a shard, whatever its format: the one reader that every stage uses.

The same shard gives the same rows and the same batches each time; stages find attributes by row number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.jsonl import Report, read_lines
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.io.streams import Source, decompressed


class ShardReader:
    """The documents of a shard, in batches; iterate once.

    Args:
        shard: what to read.
        report: called with each document that cannot be read.
        fields: our column -> the input's key or column.
        normalize: done to each text in this order: "nfc", "whitespace" (runs of blanks to one, lines stripped).

    Attributes:
        sha256: hex digest of the raw bytes that were read, once all are; None for a range of a Parquet file.
    """

    def __init__(
        self,
        shard: Shard,
        *,
        report: Report,
        fields: Mapping[str, str] | None = None,
        normalize: Sequence[str] = (),
    ) -> None:
        self.shard, self.report, self.fields, self.normalize = shard, report, dict(fields or {}), tuple(normalize)
        self.sha256: str | None = None

    def __iter__(self) -> Iterator[Batch]:
        batches = self._parquet() if self.shard.format == "parquet" else self._lines()
        return (_normalized(batch, self.normalize) for batch in batches) if self.normalize else batches

    def _lines(self) -> Iterator[Batch]:
        shard = self.shard
        with paths.storage_of(shard.path).open(shard.path) as file:
            source = Source(file)
            if shard.start is None:
                pieces = decompressed(source)
            else:
                file.seek(max(0, shard.start - 1))
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
            )
            while source.read(1 << 20) and shard.start is None:
                pass  # what lies behind a damage belongs to the file's hash
            self.sha256 = source.sha256.hexdigest()

    def _parquet(self) -> Iterator[Batch]:
        from dolma_pipeline.io.parquet import damage_named, open_parquet, read_parquet

        shard = self.shard
        with damage_named(shard.path), paths.storage_of(shard.path).open(shard.path) as file:
            parquet = open_parquet(file)
            yield from read_parquet(
                parquet,
                path=shard.path,
                shard=shard.name,
                source=shard.source,
                report=self.report,
                fields=self.fields,
                row_groups=range(shard.start or 0, parquet.num_row_groups if shard.end is None else shard.end),
            )
        if shard.start is None:
            self.sha256 = _sha256(shard.path)


def _sha256(path: str) -> str:
    with paths.storage_of(path).open(path) as file:
        source = Source(file)
        while source.read(1 << 20):
            pass
        return source.sha256.hexdigest()


def _normalized(batch: Batch, steps: Sequence[str]) -> Batch:
    texts = batch.strings
    for step in steps:
        if step == "nfc":
            texts = [unicodedata.normalize("NFC", t) for t in texts]
        elif step == "whitespace":
            texts = ["\n".join(" ".join(line.split()) for line in t.split("\n")).strip() for t in texts]
        else:
            raise DataError(f"no normalization named {step!r}; there are nfc and whitespace")
    table = batch.table.set_column(COLUMNS.index("text"), "text", pa.array(texts, pa.string()))
    return Batch(table, shard=batch.shard, first_row=batch.first_row, locs=batch.locs)
