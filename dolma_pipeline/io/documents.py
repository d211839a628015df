"""Batches of a shard, whatever its format: the one reader that every stage uses.

The same shard gives the same rows and the same batches each time; stages find attributes by row number.
"""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import orjson
import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.formats import Reading, document_format
from dolma_pipeline.io.jsonl import Failure, Report, Rows, damage_reason, read_lines
from dolma_pipeline.io.parquet_damage import open_or_lose, tables_until_damage
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.io.streams import Damaged, Source, decompressed


class ShardReader:
    """The documents of a shard, in batches; iterate once.

    Args:
        shard: what to read.
        report: called with each document that cannot be read, and once with a file that is lost.
        fields: our column -> the input's key or column.
        normalize: done to each text in this order: "nfc", "whitespace" (runs of blanks to one, lines stripped).

    Attributes:
        sha256: hex digest of the raw bytes that were read, once all are; None for a range of a Parquet file.
        lost: why the file could not be read to its end; empty if it could.
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
        self.lost = ""

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches():
            yield _normalized(batch, self.normalize) if self.normalize else batch

    def _batches(self) -> Iterator[Batch]:
        shard = self.shard
        reading = document_format(shard.format).read(shard, report=self._note, fields=self.fields)
        try:
            yield from reading
        except Damaged as damage:
            self._note(Failure(shard.path, damage_reason(damage), lost=True))
        self.sha256 = reading.sha256
        if self.sha256 is None and shard.start is None:
            self.sha256 = _sha256(shard.path)

    def _note(self, failure: Failure) -> None:
        if failure.lost:
            self.lost = self.lost or failure.reason
        self.report(failure)


class LinesReading(Reading):
    """The documents in the lines of a file, or of a range of its bytes."""

    def __iter__(self) -> Iterator[Batch]:
        """Its batches; the bytes are hashed on the way."""
        shard = self.shard
        with self.open() as file:
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


class ParquetReading(Reading):
    """The documents in the rows of a Parquet file, or of some of its row groups."""

    def __iter__(self) -> Iterator[Batch]:
        """Its batches."""
        import pyarrow.parquet as pq

        shard = self.shard
        with self.open() as file:
            parquet = open_or_lose(lambda: pq.ParquetFile(file), shard.path, self.report)
            if parquet is None:
                return
            groups = range(shard.start or 0, parquet.num_row_groups if shard.end is None else shard.end)
            first = sum(parquet.metadata.row_group(i).num_rows for i in range(groups.start))
            tables = tables_until_damage(parquet, groups, batch_size=1000, path=shard.path, report=self.report)
            yield from self._rows(tables, first)

    def _rows(self, tables: Iterator[pa.RecordBatch], first: int) -> Iterator[Batch]:
        rows, number = Rows(self.shard.name), first
        names = {column: self.fields.get(column, column) for column in COLUMNS[:6]}
        for table in tables:
            self._check_columns(table.schema.names, names)
            known = {c: _values(table.column(n)) for c, n in names.items() if n in table.schema.names}
            others = {n: _values(table.column(n)) for n in table.schema.names if n not in names.values()}
            for i in range(table.num_rows):
                number += 1
                row = {column: values[i] for column, values in known.items()}
                if isinstance(row["text"], bytes):
                    row["text"] = _decoded(row["text"])
                extra = {column: values[i] for column, values in others.items()}
                if reason := _refused({**{names[c]: v for c, v in row.items()}, **extra}, names["text"]):
                    self.report(Failure(self.shard.path, reason, line=number))
                    continue
                text = str(row["text"])
                if rows.full(len(text)):
                    yield rows.take()
                for column in COLUMNS[:6]:
                    rows.columns[column].append(_cell(row.get(column)))
                rows.columns["metadata"][-1] = rows.columns["metadata"][-1] or "{}"
                rows.columns["extra"].append(_cell(extra or None) or "{}")
                rows.locs.append(number)
                rows.num_chars += len(text)
        if rows.locs:
            yield rows.take()

    def _check_columns(self, have: Sequence[str], names: Mapping[str, str]) -> None:
        for column, name in names.items():
            if name not in have and (column == "text" or column in self.fields):
                raise DataError(
                    f"{self.shard.path}: no column '{name}'. There are: {', '.join(have)}. "
                    f"Name it in the recipe: sources.{self.shard.source}.fields: {{{column}: …}}"
                )


_NOT_UTF8 = object()


def _values(column: pa.Array) -> list[object]:
    """The values of a column; `_NOT_UTF8` where a string is none."""
    type_ = _microseconds(column.type)
    column = column.cast(type_, safe=False) if type_ != column.type else column
    try:
        values: list[object] = column.to_pylist(maps_as_pydicts="lossy")
        return values
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> object:
    try:
        value: object = scalar.as_py(maps_as_pydicts="lossy")
        return value
    except UnicodeDecodeError:
        return _NOT_UTF8


def _decoded(text: bytes) -> object:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8


def _microseconds(type_: pa.DataType) -> pa.DataType:
    """The type with nanoseconds cut to microseconds, which is what Python's times hold."""
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if type_ in (pa.duration("ns"), pa.time64("ns")):
        return pa.duration("us") if pa.types.is_duration(type_) else pa.time64("us")
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_microseconds(field.type)) for field in type_])
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        make = pa.list_ if pa.types.is_list(type_) else pa.large_list
        return make(type_.value_field.with_type(_microseconds(type_.value_type)))
    return type_


def _refused(row: Mapping[str, object], text_name: str) -> str:
    """Why a row is no document; empty if it is one."""
    bad = [name for name, value in row.items() if value is _NOT_UTF8]
    if bad:
        return f"encoding: '{bad[0]}' holds bytes that are no UTF-8"
    text = row[text_name]
    if isinstance(text, str):
        return ""
    return f"'{text_name}' is {'null' if text is None else type(text).__name__}; a string is wanted"


def _cell(value: object) -> str | None:
    """A value as text: strings as they are, times in ISO 8601, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dt.date, dt.time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bytes):
        return str(_plain(value))
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: object) -> object:
    """What JSON does not know: bytes as text (hex where they are no UTF-8), decimals and durations as written."""
    if isinstance(value, bytes):
        text = _decoded(value)
        return value.hex() if text is _NOT_UTF8 else text
    return str(value)


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
