"""Parquet attribute files, from anyone who writes them: struct columns, or plain ones named as in Dolma's files.

Rows of one range of a document file are read alone: row groups before and behind them are passed over.
Cost: that of reading the columns wanted, and what `io.attribute_types` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dolma_pipeline.documents import SPANS_TYPE, is_spans
from dolma_pipeline.errors import DataError, unknown_name
from dolma_pipeline.io.arrow_values import id_column
from dolma_pipeline.io.attribute_columns import converted
from dolma_pipeline.io.attribute_names import Leaf, leaves
from dolma_pipeline.io.attribute_part import Part, parts_until_fault
from dolma_pipeline.io.attribute_types import canonical, may_become
from dolma_pipeline.io.attribute_values import BadValueError
from dolma_pipeline.io.spans_numbers import number_list_spans

PART_ROWS = 65_536

Wanted = dict[str, dict[str, Leaf]]


@contextmanager
def parquet_errors(path: Path | str) -> Iterator[None]:
    """Errors of a damaged file name it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, such as a file that is not there
            raise
        raise DataError(f"{path}: damaged Parquet: {error}") from error


def parquet_schema(path: Path) -> pa.Schema:
    """The attributes of a file: a struct column each, of canonical types (`io.attribute_types`).

    Raises:
        DataError: the file is damaged, or has no attributes.
    """
    with parquet_errors(path):
        schema = pq.read_schema(path)
    return pa.schema(
        [
            pa.field(column, pa.struct([pa.field(field, _type(leaf)) for field, leaf in fields.items()]))
            for column, fields in leaves(schema, path).items()
        ]
    )


def parquet_rows(path: Path) -> int:
    """How many rows a file has."""
    with parquet_errors(path):
        return int(pq.read_metadata(path).num_rows)


def parquet_parts(path: Path, schema: pa.Schema, rows: range | None) -> Iterator[Part]:
    """The rows of a file, or some of them.

    Args:
        schema: the columns and fields wanted. rows: of the file; None: all.

    Raises:
        DataError: the file is damaged, or lacks a field, or has it in a type without such values.
        BadRowError: a value that is wrong; the rows before it were given out.
    """
    with parquet_errors(path):
        file = pq.ParquetFile(path)
        have = file.schema_arrow
        wanted = _wanted(path, schema, have)
        ids = ["id"] if "id" in have.names else []
        columns = [*(leaf.path for fields in wanted.values() for leaf in fields.values()), *ids]
        rows = range(file.metadata.num_rows) if rows is None else rows
        groups, row = _groups(file.metadata, rows)
        for piece in file.iter_batches(batch_size=PART_ROWS, row_groups=groups, columns=columns):
            first, stop = max(row, rows.start), min(row + piece.num_rows, rows.stop)
            if first < stop:
                some = piece.slice(first - row, stop - first)
                part = Part(schema.empty_table(), id_column(some.column("id")) if ids else None, first, None)
                yield from parts_until_fault(part, len(some), _Conversion(some, schema, wanted).first)
            row += piece.num_rows
            if row >= rows.stop:
                return


def _groups(metadata: pq.FileMetaData, rows: range) -> tuple[list[int], int]:
    """The row groups that hold these rows, and the row of the file with which the first of them starts."""
    groups: list[int] = []
    start = row = 0
    for i in range(metadata.num_row_groups):
        stop = row + metadata.row_group(i).num_rows
        if row < rows.stop and stop > rows.start:
            start = start if groups else row
            groups.append(i)
        row = stop
    return groups, start


def _wanted(path: Path, schema: pa.Schema, have: pa.Schema) -> Wanted:
    known = leaves(have, path)
    wanted: Wanted = {}
    for column in schema:
        if column.name not in known:
            raise DataError(f"{path}: {unknown_name('attribute', column.name, known)}")
        fields = known[column.name]
        for field in column.type:
            if field.name not in fields:
                raise DataError(
                    f"{path}: {unknown_name(f'field of attribute {column.name}', field.name, fields)} All files of an "
                    "attribute have the same fields."
                )
            if not _may_become(fields[field.name], field.type):
                raise DataError(
                    f"{path}: attribute {column.name}.{field.name} is {fields[field.name].type} here, but {field.type} "
                    "in another file of it. All files of an attribute have the same fields."
                )
        wanted[column.name] = {field.name: fields[field.name] for field in column.type}
    return wanted


def _type(leaf: Leaf) -> pa.DataType:
    return SPANS_TYPE if leaf.is_number_lists else canonical(leaf.type)


def _may_become(leaf: Leaf, wanted: pa.DataType) -> bool:
    return is_spans(wanted) if leaf.is_number_lists else may_become(leaf.type, wanted)


class _Conversion:
    """A piece of the file, as the columns wanted."""

    def __init__(self, piece: pa.RecordBatch, schema: pa.Schema, wanted: Wanted) -> None:
        self.piece, self.schema, self.wanted = piece, schema, wanted

    def first(self, count: int) -> pa.Table:
        """The first rows as a table of `schema`."""
        piece = self.piece.slice(0, count)
        columns = [self._column(piece, column, self.wanted[column.name]) for column in self.schema]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _column(self, piece: pa.RecordBatch, column: pa.Field, fields: dict[str, Leaf]) -> pa.StructArray:
        children = [self._field(piece, column.name, field, fields[field.name]) for field in column.type]
        structs = [piece.column(leaf.column) for leaf in fields.values() if leaf.inner is not None]
        null = structs[0].is_null() if len(structs) == len(fields) and structs and structs[0].null_count else None
        return pa.StructArray.from_arrays(children, fields=list(column.type), mask=null)

    def _field(self, piece: pa.RecordBatch, column: str, field: pa.Field, leaf: Leaf) -> pa.Array:
        array = piece.column(leaf.column)
        array = array if leaf.inner is None else pc.struct_field(array, leaf.inner)
        try:
            return number_list_spans(array) if leaf.is_number_lists else converted(array, field.type)
        except BadValueError as error:
            raise BadValueError(error.row, f"{column}.{field.name}: {error.what}") from error
