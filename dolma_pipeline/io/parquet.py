"""Documents in Parquet: row groups in, batches out. A row means what the same row means in JSON lines (`io.jsonl`).

Columns of strings go from the file to the batch without a Python object; all others take their written form
(`io.arrow_values`). A row whose text is missing, null or not a string, or that holds one that is not UTF-8, becomes a
`Failure`; its neighbours are unharmed. Batches: at most MAX_BATCH_ROWS, and MAX_BATCH_BYTES of values; a larger row is
a batch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import types

from dolma_pipeline.documents import COLUMNS, MAX_BATCH_BYTES, MAX_BATCH_ROWS, SCHEMA, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.arrow_values import can_be_taken, is_text, json_values, metadata_column, text_column
from dolma_pipeline.io.jsonl import Failure, Report, overlong
from dolma_pipeline.io.parquet_damage import tables_until_damage
from dolma_pipeline.io.streams import MAX_LINE_BYTES, read_fully
from dolma_pipeline.io.written import TooDeepError, json_text

_CLAIMS = ("text", "id", "source", "added", "created", "metadata")
"""Columns in the order in which they claim a column of the file, as in `kernels.json_lines`."""
_PART_BYTES = 4 * MAX_BATCH_BYTES  # what is converted at once
_T = TypeVar("_T")


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """A Parquet file whose values come as they are stored; use with `parquet_damage`."""
    # Nanoseconds, to which Arrow converts the old INT96 timestamps, hold only the years 1678 to 2262 and wrap silently.
    return pq.ParquetFile(pa.PythonFile(_FullReads(file), mode="r"), coerce_int96_timestamp_unit="us")


class _FullReads:
    """A file for Arrow, which takes a read of fewer bytes than it asked for as the end of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        """Nothing: who opened the file closes it."""

    def read(self, size: int) -> bytes:
        """All that is asked for, but at the end."""
        return read_fully(self._file, size)


def read_parquet(
    parquet: pq.ParquetFile,
    *,
    path: str,
    shard: str,
    source: str,
    report: Report,
    fields: Mapping[str, str],
    row_groups: Sequence[int],
) -> Iterator[Batch]:
    """Batches of the documents in some row groups.

    Args:
        path: for failures. shard: for origins. source: for errors about `fields`.
        report: called with every row that gives no document; its line is the row in the file + 1.
        fields: our column -> the file's, where the names differ.
        row_groups: indices, rising without a gap.

    Raises:
        DataError: no column for the text, or none of a name in `fields`.
    """
    names = {column: fields.get(column, column) for column in _CLAIMS}
    held = _Held(shard)
    loc = 1 + sum(parquet.metadata.row_group(group).num_rows for group in range(min(row_groups, default=0)))
    tables = tables_until_damage(parquet, row_groups, batch_size=MAX_BATCH_ROWS, path=path, report=report)
    for table in tables:
        for column, name in names.items():
            if name not in table.schema.names and (column == "text" or column in fields):
                raise DataError(
                    f"{path}: no column '{name}'. There are: {', '.join(table.schema.names)}. "
                    f"Name it in the recipe: sources.{source}.fields: {{{column}: …}}"
                )
        for part in _parts(_settled(table)):
            rows = _Rows(part, names)
            for row, reason in sorted(rows.failed.items()):
                report(Failure(path, reason, line=loc + row))
            yield from held.add(rows, loc)
            loc += part.num_rows
    yield from held.take()


def _settled(table: pa.RecordBatch) -> pa.RecordBatch:
    """The table without views, whose slices hold on to (and count) all bytes of their column."""
    columns = [
        column.cast(pa.large_string())
        if types.is_string_view(column.type)
        else column.cast(pa.large_binary())
        if types.is_binary_view(column.type)
        else column
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=table.schema.names)


def _parts(table: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices of a table that are small enough to be converted at once, or a single row."""
    if table.num_rows < 2 or sum(map(_num_bytes, table.columns)) <= _PART_BYTES:
        yield table
        return
    half = table.num_rows // 2
    yield from _parts(table.slice(0, half))
    yield from _parts(table.slice(half))


def _num_bytes(column: pa.Array) -> int:
    """Bytes of a column's values; of a dictionary, of as many of its longest as there are rows."""
    if types.is_dictionary(column.type) and can_be_taken(column.type.value_type):
        return len(column) * int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return int(column.nbytes)


class _Rows:
    """Rows of a file, read.

    Args:
        names: our column -> the file's.

    Attributes:
        table: the columns of documents, of all rows. sizes: bytes of each row's values, int64[n].
        failed: row -> why it gives no document.
    """

    def __init__(self, table: pa.RecordBatch, names: Mapping[str, str]) -> None:
        self.failed: dict[int, str] = {}
        self._num_rows = table.num_rows
        # As in JSON: of a repeated name the last counts, and a name belongs to one of our columns only.
        others = dict(zip(table.schema.names, table.columns, strict=True))
        own = {column: (names[column], others.pop(names[column])) for column in _CLAIMS if names[column] in others}
        columns = [self._column(name, own.get(name)) for name in COLUMNS[:-1]]
        columns.append(self._extra(others))
        self._require_text(*own["text"], columns[COLUMNS.index("text")])
        self.table = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
        self.sizes: NDArray[np.int64] = np.zeros(self._num_rows, np.int64)
        for column in columns:
            self.sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(self.sizes > MAX_LINE_BYTES).tolist():
            self.failed.setdefault(row, overlong(int(self.sizes[row]), MAX_LINE_BYTES, what="row"))

    def _column(self, column: str, given: tuple[str, pa.Array] | None) -> pa.StringArray:
        if given is None:
            return pa.repeat("{}", self._num_rows) if column == "metadata" else pa.nulls(self._num_rows, pa.string())
        name, array = given
        form = {"metadata": self._metadata, "text": _text}.get(column, text_column)
        try:
            return form(array)
        except (UnicodeDecodeError, TooDeepError):
            return pa.concat_arrays(list(self._row_by_row(name, array, form, pa.nulls(1, pa.string()))))

    def _row_by_row(self, name: str, array: pa.Array, form: Callable[[pa.Array], _T], none: _T) -> Iterator[_T]:
        """What `form` makes of each row; where it cannot, the row has failed and counts as `none`."""
        for row in range(self._num_rows):
            try:
                yield form(array.slice(row, 1))
            except UnicodeDecodeError:
                self.failed.setdefault(row, f"encoding: '{name}' holds bytes that are not valid UTF-8")
                yield none
            except TooDeepError as error:
                self.failed.setdefault(row, str(error))
                yield none

    def _metadata(self, array: pa.Array) -> pa.StringArray:
        return self._strings(metadata_column(array))

    def _extra(self, columns: Mapping[str, pa.Array]) -> pa.StringArray:
        """All other columns as one JSON object a row."""
        if not columns:
            return pa.repeat("{}", self._num_rows)
        values = [self._values(name, array) for name, array in columns.items()]
        texts: list[str | None] = []
        for row, members in enumerate(zip(*values, strict=True)):
            try:
                texts.append(json_text(dict(zip(columns, members, strict=True))))
            except TooDeepError as error:
                self.failed.setdefault(row, str(error))
                texts.append(None)
        return self._strings(texts)

    def _values(self, name: str, array: pa.Array) -> list[Any]:
        try:
            return json_values(array)
        except UnicodeDecodeError:
            return [value for one in self._row_by_row(name, array, json_values, [None]) for value in one]

    def _strings(self, texts: Sequence[str | None]) -> pa.StringArray:
        if len(texts) == 1 and texts[0] is not None and len(texts[0]) > MAX_LINE_BYTES:  # an Arrow string ends at 2 GB
            self.failed.setdefault(0, overlong(len(texts[0]), MAX_LINE_BYTES, what="row"))
            texts = [None]
        return pa.array(texts, pa.string())

    def _require_text(self, name: str, array: pa.Array, texts: pa.StringArray) -> None:
        """Fails the rows whose text is null or not a string."""
        if is_text(array.type):
            if texts.null_count:
                for row in np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False)).tolist():
                    self.failed.setdefault(row, f"'{name}' is null; expected a string")
            return
        kind = _type_name(array.type)
        for row, here in enumerate(array.is_valid().to_pylist()):
            self.failed.setdefault(row, f"'{name}' is {kind if here else 'null'}; expected a string")


def _text(array: pa.Array) -> pa.StringArray:
    return text_column(array, bytes_are_text=True)


def _type_name(type_: pa.DataType) -> str:
    if types.is_integer(type_):
        return "int"
    if types.is_floating(type_):
        return "float"
    return str(type_)


class _Held:
    """Documents that wait for their batch to become full."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._next_row = 0
        self._tables: list[pa.RecordBatch] = []
        self._locs: list[NDArray[np.int64]] = []
        self._num_rows = self._num_bytes = 0

    def add(self, rows: _Rows, loc: int) -> Iterator[Batch]:
        """The batches that become full with the documents among some rows, of which the first has this loc."""
        table, sizes = rows.table, rows.sizes
        locs = np.arange(loc, loc + len(sizes), dtype=np.int64)
        if rows.failed:
            good = np.ones(len(sizes), bool)
            good[list(rows.failed)] = False
            table, sizes, locs = table.filter(pa.array(good)), sizes[good], locs[good]
        start = 0
        for row, size in enumerate(sizes.tolist()):
            num_rows = self._num_rows + row - start
            if num_rows == MAX_BATCH_ROWS or (num_rows and self._num_bytes + size > MAX_BATCH_BYTES):
                self._hold(table.slice(start, row - start), locs[start:row])
                yield from self.take()
                start = row
            self._num_bytes += size
        self._hold(table.slice(start), locs[start:])

    def _hold(self, table: pa.RecordBatch, locs: NDArray[np.int64]) -> None:
        if table.num_rows:
            self._tables.append(table)
            self._locs.append(locs)
            self._num_rows += table.num_rows

    def take(self) -> Iterator[Batch]:
        """The batch of all that is held, if anything is."""
        if self._tables:
            table = self._tables[0] if len(self._tables) == 1 else pa.concat_batches(self._tables)
            locs = np.concatenate(self._locs)
            yield Batch(table, shard=self._shard, first_row=self._next_row, locs=locs)
            self._next_row += self._num_rows
        self._tables, self._locs = [], []
        self._num_rows = self._num_bytes = 0
