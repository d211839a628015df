"""Attributes beside documents: row i of an attribute file belongs to document i of its shard.

Parquet: one struct column called like the attribute, row groups of 64k rows, read by row number.
JSONL: Dolma's attribute files, `{"id", "attributes": {"exp__tagger__type": [[start, end, score], …]}, "source"}`.
Both are read everywhere. From JSONL a column is always a struct of span lists, absent = empty.
Cost: 350 to 450 MB of tagged text per second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from dolma_pipeline.documents import SPANS_TYPE, Batch
from dolma_pipeline.errors import DataError, MisalignedError, unknown_name
from dolma_pipeline.io import paths
from dolma_pipeline.io.jsonl import LinesWriter
from dolma_pipeline.io.streams import Damaged, Overlong, Source, decompressed, line_blocks

ROW_GROUP_ROWS = 65_536
_ODD = re.compile(r"[^A-Za-z0-9_]")
ENDINGS = (".parquet", ".jsonl.gz", ".jsonl.zst", ".jsonl", ".json.gz", ".json")


class AttributeWriter:
    """One attribute of one shard, written batch by batch and committed when the block ends well."""

    def __init__(self, path: Path, label: str, type_: pa.StructType) -> None:
        self.path, self.label, self.type = path, label, type_
        self._held: list[pa.StructArray] = []
        self._held_rows = 0
        self.num_rows = 0

    def __enter__(self) -> AttributeWriter:
        self._stack = ExitStack()
        file = self._stack.enter_context(paths.committing(self.path))
        schema = pa.schema([pa.field(self.label, self.type)])
        self._writer = self._stack.enter_context(
            pq.ParquetWriter(file, schema, compression="zstd", compression_level=1, use_dictionary=False)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)

    def write(self, column: pa.StructArray, batch: Batch) -> None:
        """Append the rows of a batch."""
        self.write_column(column)

    def write_column(self, column: pa.StructArray) -> None:
        """Append rows."""
        self._held.append(column)
        self._held_rows += len(column)
        self.num_rows += len(column)
        while self._held_rows >= ROW_GROUP_ROWS:
            rows = pa.concat_arrays(self._held)
            self._write(rows.slice(0, ROW_GROUP_ROWS))
            self._held = [rows.slice(ROW_GROUP_ROWS)]
            self._held_rows = len(self._held[0])

    def _flush(self) -> None:
        if self._held_rows:
            self._write(pa.concat_arrays(self._held))

    def _write(self, rows: pa.StructArray) -> None:
        schema = pa.schema([pa.field(self.label, self.type)])
        self._writer.write_table(pa.Table.from_arrays([rows], schema=schema), row_group_size=ROW_GROUP_ROWS)


class DolmaWriter(AttributeWriter):
    """One attribute of one shard as Dolma's JSONL; a number or flag is a span over the whole text.

    A flag is written only where it is true; a string `s` of field `f` is the type `f__s` with score 1 (what is no
    letter, digit or _ of ASCII becomes _, as Dolma does it).
    """

    def __enter__(self) -> DolmaWriter:
        self._stack = ExitStack()
        file = self._stack.enter_context(paths.committing(self.path))
        self._lines = LinesWriter(file, "gz")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._lines.close()
        self._stack.__exit__(kind, error, trace)

    def write(self, column: pa.StructArray, batch: Batch) -> None:
        """Append the rows of a batch."""
        ids, sources = (batch.table.column(name).to_pylist() for name in ("id", "source"))
        rows = column.to_pylist()
        lines = []
        for id_, source, text, row in zip(ids, sources, batch.strings, rows, strict=True):
            found = {
                key: spans for field, value in (row or {}).items() for key, spans in _spans(field, value, len(text))
            }
            attributes = {f"{self.label}__{self.label}__{key}": spans for key, spans in found.items()}
            line = {"id": id_, "attributes": attributes, "source": source}
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._lines.write(lines)
        self.num_rows += len(rows)


def attribute_writer(path: Path, label: str, type_: pa.StructType) -> AttributeWriter:
    """A writer of the form that the path's ending asks for."""
    return AttributeWriter(path, label, type_) if path.suffix == ".parquet" else DolmaWriter(path, label, type_)


def _spans(field: str, value: Any, length: int) -> Iterator[tuple[str, list[list[float]]]]:
    if isinstance(value, bool):
        if value:
            yield field, [[0, length, 1.0]]
    elif isinstance(value, str):
        yield f"{field}__{_ODD.sub('_', value)}", [[0, length, 1.0]]
    elif isinstance(value, list):
        if value:
            yield field, [[s["start"], s["end"], round(s["score"], 5)] for s in value]
    else:  # a float like all of Dolma's scores: its filters tell 1 from 1.0
        yield field, [[0, length, float(value)]]


def find_attributes(folder: Path, shard_path: str) -> Path | None:
    """The attribute file of a shard (its name within the folder, without an ending); None if there is none."""
    for ending in ENDINGS:
        path = folder / f"{shard_path}{ending}"
        if path.is_file():
            return path
    return None


def attribute_schema(path: Path) -> pa.Schema:
    """The struct columns of an attribute file; of JSONL, every name that occurs in it.

    Raises:
        DataError: the file is damaged, or no attribute file.
    """
    if path.suffix == ".parquet":
        with _whole(path):
            schema = pq.read_schema(path)
        return pa.schema([f for f in schema if pa.types.is_struct(f.type)])
    names: dict[str, set[str]] = {}
    for _, attributes in _dolma_rows(path):
        for key in attributes:
            column, field = _split_name(key)
            names.setdefault(column, set()).add(field)
    return dolma_schema(names)


def dolma_schema(names: Mapping[str, set[str]]) -> pa.Schema:
    """Struct columns of span lists for `exp` -> fields."""
    return pa.schema(
        [
            pa.field(column, pa.struct([pa.field(f, SPANS_TYPE) for f in sorted(fields)]))
            for column, fields in sorted(names.items())
        ]
    )


def _split_name(key: str) -> tuple[str, str]:
    column, _, field = key.partition("__")
    return (column, field) if field else (key, key)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Errors of a damaged file name it."""
    try:
        yield
    except Damaged as error:
        raise DataError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, such as a file that is not there
            raise
        raise DataError(f"{path}: damaged Parquet: {error}") from error


def _dolma_rows(path: Path) -> Iterator[tuple[Any, dict[str, list[dict[str, Any]]]]]:
    """Id, and name -> spans, of each line."""
    line_number = 0
    with open(path, "rb") as file, _whole(path):
        for block in line_blocks(decompressed(Source(file))):
            if isinstance(block, Overlong):
                raise DataError(f"{path}:{line_number + 1}: a line of {block.num_bytes} bytes: too long")
            for line in block.removesuffix(b"\n").split(b"\n"):
                line_number += 1
                if line.strip():
                    yield _dolma_row(line, f"{path}:{line_number}")


def _dolma_row(line: bytes, place: str) -> tuple[Any, dict[str, list[dict[str, Any]]]]:
    try:
        row = orjson.loads(line)
        spans = {
            name: [{"start": int(start), "end": int(end), "score": float(score)} for start, end, score in found]
            for name, found in row["attributes"].items()
        }
        return row.get("id"), spans
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{place}: no Dolma attribute line ({type(error).__name__}: {error}). Such a line is "
            '{"id": …, "attributes": {"exp__tagger__type": [[start, end, score], …]}}.'
        ) from error


def read_attribute(path: Path, field: pa.Field) -> pa.StructArray:
    """A whole column of an attribute file, without a look at the documents."""
    schema = pa.schema([field])
    parts = [part for part, _ in AttributeReader(path, schema).parts]
    column = pa.concat_tables([schema.empty_table(), *parts]).column(0).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


class AttributeReader:
    """Columns of one attribute file, taken in step with the documents.

    Args:
        path: Parquet or JSONL. schema: the columns wanted, each a struct of the fields wanted.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.parts = self._parquet() if path.suffix == ".parquet" else self._dolma()
        self._held: pa.Table = schema.empty_table()
        self._ids: list[str | None] = []
        self._row = 0

    def _parquet(self) -> Iterator[tuple[pa.Table, list[str | None] | None]]:
        with _whole(self.path):
            file = pq.ParquetFile(self.path)
            self._check_columns(file.schema_arrow)
            leaves = [f"{f.name}.{g.name}" for f in self.schema for g in f.type]
            wanted = [*leaves, *(["id"] if "id" in file.schema_arrow.names else [])]
            for part in file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=wanted):
                ids = part.column("id").to_pylist() if "id" in wanted else None
                yield pa.Table.from_batches([part.select(self.schema.names)]).cast(self.schema), ids

    def _check_columns(self, have: pa.Schema) -> None:
        for field in self.schema:
            if field.name not in have.names:
                raise DataError(f"{self.path}: {unknown_name('attribute', field.name, have.names)}")
            found = have.field(field.name).type
            theirs = {one.name: one.type for one in found} if pa.types.is_struct(found) else {}
            if any(theirs.get(one.name) != one.type for one in field.type):
                raise DataError(
                    f"{self.path}: attribute {field.name} is {found} here, but {field.type} in "
                    "another file of it. All files of an attribute have the same fields."
                )

    def _dolma(self) -> Iterator[tuple[pa.Table, list[str | None] | None]]:
        rows: list[dict[str, dict[str, list[dict[str, float]]]]] = []
        ids: list[str | None] = []
        for id_, attributes in _dolma_rows(self.path):
            row: dict[str, dict[str, Any]] = {f.name: {g.name: [] for g in f.type} for f in self.schema}
            for key, spans in attributes.items():
                column, field = _split_name(key)
                if column in row and field in row[column]:
                    row[column][field] = spans
            rows.append(row)
            ids.append(id_)
            if len(rows) == 8192:
                yield pa.Table.from_pylist(rows, schema=self.schema), ids
                rows, ids = [], []
        if rows:
            yield pa.Table.from_pylist(rows, schema=self.schema), ids

    def take(self, batch: Batch) -> pa.Table:
        """The rows of a batch, as a table of its length.

        Raises:
            MisalignedError: fewer rows than documents, or another id; names file and row.
        """
        num_rows = len(batch)
        while self._held.num_rows < num_rows:
            part = next(self.parts, None)
            if part is None:
                raise MisalignedError(
                    f"{self.path}: {self._row + self._held.num_rows} rows, but shard {batch.shard} has "
                    f"at least {self._row + num_rows} documents. Tag that shard again."
                )
            self._held = pa.concat_tables([self._held, part[0]])
            self._ids.extend(part[1] if part[1] is not None else [])
        taken = self._held.slice(0, num_rows)
        self._held = self._held.slice(num_rows)
        if self._ids:
            self._check_ids(self._ids[:num_rows], batch)
            del self._ids[:num_rows]
        self._row += num_rows
        return taken.combine_chunks()

    def _check_ids(self, ids: Sequence[str | None], batch: Batch) -> None:
        for i, (mine, theirs) in enumerate(zip(ids, batch.table.column("id").to_pylist(), strict=True)):
            if mine != theirs and not (mine is None or theirs is None) and str(mine) != theirs:
                raise MisalignedError(
                    f"{self.path}: row {self._row + i} is of id {mine!r}, "
                    f"but document {batch.shard}#{self._row + i} has id {theirs!r}: attributes of other documents."
                )

    def finish(self, num_documents: int) -> None:
        """Check that no rows are left over after all documents.

        Raises:
            MisalignedError: more rows than documents.
        """
        rest = self._held.num_rows + sum(part[0].num_rows for part in self.parts)
        if rest:
            raise MisalignedError(
                f"{self.path}: {num_documents + rest} rows, but its shard has {num_documents} documents. "
                "Tag that shard again."
            )
