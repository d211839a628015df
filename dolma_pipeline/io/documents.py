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
from dolma_pipeline.io.jsonl import Failure, Report, Rows, read_lines, text_or_none
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
        sha256: hex digest of the raw bytes, once all are read; None for a range of a file.
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
            )
            while source.read(1 << 20) and shard.start is None:
                pass  # what lies behind a damage belongs to the file's hash
            self.sha256 = source.sha256.hexdigest() if shard.start is None else None

    def _parquet(self) -> Iterator[Batch]:
        import pyarrow.parquet as pq

        shard = self.shard
        try:
            with paths.storage_of(shard.path).open(shard.path) as file:
                parquet = pq.ParquetFile(file)
                groups = range(shard.start or 0, parquet.num_row_groups if shard.end is None else shard.end)
                first = sum(parquet.metadata.row_group(i).num_rows for i in range(groups.start))
                yield from self._rows(parquet.iter_batches(batch_size=1000, row_groups=list(groups)), first)
            if shard.start is None:
                self.sha256 = _sha256(shard.path)
        except pa.ArrowInvalid as error:
            raise DataError(f"{shard.path}: damaged Parquet: {error}") from error

    def _rows(self, tables: Iterator[pa.RecordBatch], first: int) -> Iterator[Batch]:
        rows, number = Rows(self.shard.name), first
        names = {column: self.fields.get(column, column) for column in COLUMNS[:6]}
        for table in tables:
            if names["text"] not in table.schema.names:
                have = ", ".join(table.schema.names)
                raise DataError(
                    f"{self.shard.path}: no column '{names['text']}'. There are: {have}. "
                    f"Name it in the recipe: sources.{self.shard.source}.fields: {{text: …}}"
                )
            known = {c: table.column(n).to_pylist() for c, n in names.items() if n in table.schema.names}
            others = {n: table.column(n).to_pylist() for n in table.schema.names if n not in names.values()}
            for i in range(table.num_rows):
                number += 1
                text = known["text"][i]
                if not isinstance(text, str):
                    reason = (
                        f"'{names['text']}' is {'null' if text is None else type(text).__name__}; a string is wanted"
                    )
                    self.report(Failure(self.shard.path, reason, line=number))
                    continue
                if rows.full(len(text)):
                    yield rows.take()
                for column in COLUMNS[:6]:
                    rows.columns[column].append(_cell(known[column][i]) if column in known else None)
                rows.columns["metadata"][-1] = rows.columns["metadata"][-1] or "{}"
                rows.columns["extra"].append(_cell({n: v[i] for n, v in others.items()} or None) or "{}")
                rows.locs.append(number)
                rows.num_chars += len(text)
        if rows.locs:
            yield rows.take()


def _cell(value: object) -> str | None:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, Mapping):
        value = {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in value.items()}
    return text_or_none(value)


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
