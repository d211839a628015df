"""Attributes beside documents: row i of an attribute file belongs to document i of its shard.

Parquet: one struct column called like the attribute, row groups of 64k rows, read by row number.
JSONL: Dolma's attribute files, `{"id", "attributes": {"exp__tagger__type": [[start, end, score], …]}, "source"}`.
Both are read everywhere, from anyone who writes them: `io.attribute_parquet`, `io.attribute_lines`.
Cost: 350 to 450 MB of tagged text per second.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.documents import SPANS_TYPE, Batch
from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.io import paths
from dolma_pipeline.io.attribute_cut import Cuts
from dolma_pipeline.io.attribute_ids import first_difference
from dolma_pipeline.io.attribute_lines import Blocks, lines_parts, lines_schema, whole_blocks
from dolma_pipeline.io.attribute_names import dolma_schema
from dolma_pipeline.io.attribute_parquet import parquet_errors, parquet_parts, parquet_rows, parquet_schema
from dolma_pipeline.io.attribute_part import BadRowError, Part
from dolma_pipeline.io.attribute_values import lists_of
from dolma_pipeline.io.jsonl import LinesWriter
from dolma_pipeline.io.spans_given import ends_behind
from dolma_pipeline.io.tables import ParquetWriter
from dolma_pipeline.storage.committed import Output

__all__ = [
    "ENDINGS",
    "ROW_GROUP_ROWS",
    "AttributeReader",
    "AttributeWriter",
    "DolmaWriter",
    "attribute_file",
    "attribute_schema",
    "attribute_writer",
    "dolma_schema",
    "find_attributes",
    "num_attribute_rows",
    "read_attribute",
    "read_made_attribute",
]

ROW_GROUP_ROWS = 65_536
_ODD = re.compile(r"[^A-Za-z0-9_]")
ENDINGS = (".parquet", ".jsonl.gz", ".jsonl.zst", ".jsonl", ".json.gz", ".json")


class AttributeWriter:
    """One attribute of one shard, written batch by batch; whoever opened the file commits it.

    Starts and ends of spans are written as differences, scores by a dictionary (`_encodings`): of c4_v1 a third of the
    bytes and a seventh of the CPU less than plain values (on real text), and any reader of Parquet reads them.
    """

    def __init__(self, file: Output, label: str, type_: pa.StructType) -> None:
        self.label, self.type = label, type_
        self._held: list[pa.StructArray] = []
        self._held_rows = 0
        self.num_rows = 0
        self._open(file)

    def _open(self, file: Output) -> None:
        schema = pa.schema([pa.field(self.label, self.type)])
        encodings = _encodings(self.label, self.type)
        self._writer = ParquetWriter(file, schema, compression="zstd", compression_level=1, **encodings)

    def close(self) -> None:
        """Write what is held and the footer; the file itself stays open."""
        if self._held_rows:
            self._write(pa.concat_arrays(self._held))
        self._held, self._held_rows = [], 0
        self._writer.close()

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

    def _write(self, rows: pa.StructArray) -> None:
        schema = pa.schema([pa.field(self.label, self.type)])
        self._writer.write_table(pa.Table.from_arrays([rows], schema=schema), row_group_size=ROW_GROUP_ROWS)


class DolmaWriter(AttributeWriter):
    """One attribute of one shard as Dolma's JSONL; a number or flag is a span over the whole text.

    A flag is written only where it is true; a string `s` of field `f` is the type `f__s` with score 1 (what is no
    letter, digit or _ of ASCII becomes _, as Dolma does it).
    """

    def _open(self, file: Output) -> None:
        self._lines = LinesWriter(file, "gz")

    def close(self) -> None:
        """Finish the compressed lines; the file itself stays open."""
        self._lines.close()

    def write(self, column: pa.StructArray, batch: Batch) -> None:
        """Append the rows of a batch."""
        ids, sources = (batch.table.column(name).to_pylist() for name in ("id", "source"))
        rows = column.to_pylist()
        lines = []
        for id_, source, text, row in zip(ids, sources, batch.strings, rows, strict=True):
            written = {
                key: spans for field, value in (row or {}).items() for key, spans in _spans(field, value, len(text))
            }
            attributes = {f"{self.label}__{self.label}__{key}": spans for key, spans in written.items()}
            line = {"id": id_, "attributes": attributes, "source": source}
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._lines.write(lines)
        self.num_rows += len(rows)


def _encodings(label: str, type_: pa.StructType) -> dict[str, Any]:
    """How the columns of an attribute file are encoded, as arguments of a ParquetWriter."""
    spans = [f"{label}.{field.name}.list.element" for field in type_ if field.type == SPANS_TYPE]
    return {
        "use_dictionary": [f"{path}.score" for path in spans],
        "column_encoding": {f"{path}.{name}": "DELTA_BINARY_PACKED" for path in spans for name in ("start", "end")},
    }


def attribute_writer(
    file: Output, label: str, type_: pa.StructType, *, format: Literal["parquet", "jsonl"] = "parquet"
) -> AttributeWriter:
    """A writer of one of the two forms."""
    return (AttributeWriter if format == "parquet" else DolmaWriter)(file, label, type_)


@contextmanager
def attribute_file(path: Path, label: str, type_: pa.StructType) -> Iterator[AttributeWriter]:
    """A writer of a local file, of the form that its ending asks for; committed when the block ends well."""
    with paths.committing(path) as file:
        writer = attribute_writer(file, label, type_, format="parquet" if path.suffix == ".parquet" else "jsonl")
        yield writer
        writer.close()


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
    """The attributes of a file as struct columns; of JSONL, every name that occurs in it.

    Raises:
        DataError: the file is damaged, or not an attribute file.
    """
    return parquet_schema(path) if path.suffix == ".parquet" else lines_schema(path)


def num_attribute_rows(path: Path, cuts: Cuts) -> int:
    """How many rows an attribute file has; JSONL is read for it, once for these cuts."""
    return parquet_rows(path) if path.suffix == ".parquet" else cuts.of(path).num_rows


def read_attribute(path: Path, field: pa.Field) -> pa.StructArray:
    """A whole column of an attribute file, without a look at the documents."""
    schema = pa.schema([field])
    try:
        tables = [part.table for part in _parts(path, schema, None, None)]
    except BadRowError as error:
        raise DataError(f"{error.part.place(path, error.index)}: {error.what}") from error
    column = pa.concat_tables([schema.empty_table(), *tables]).column(0).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def read_made_attribute(path: Path, field: pa.Field) -> pa.StructArray:
    """A whole column of a file that this library wrote: what its values are was seen to then.

    Cost: a third of what `read_attribute` takes for a small file.
    """
    if path.suffix == ".parquet":
        with parquet_errors(path), pq.ParquetFile(path) as file:
            table = file.read([f"{field.name}.{one.name}" for one in field.type], use_threads=False)
        if table.schema.types == [field.type]:
            column = table.column(0).combine_chunks()
            return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return read_attribute(path, field)


def _parts(path: Path, schema: pa.Schema, rows: range | None, cuts: Cuts | None) -> Iterator[Part]:
    if path.suffix == ".parquet":
        return parquet_parts(path, schema, rows)
    blocks = Blocks(0, 0, whole_blocks(path)) if rows is None else (cuts or Cuts()).of(path).blocks(rows.start)
    return lines_parts(path, schema, blocks, rows)


class AttributeReader:
    """Columns of one attribute file, taken in step with the documents.

    Args:
        path: Parquet or JSONL. schema: the columns wanted, each a struct of the fields wanted.
        rows: of the file, those that are wanted (those of a range of a document file); None: all.
        ids: of these rows, string[n], where they are kept elsewhere than in the file.
        fits_text: span fields, as `column.field`, that must lie in their texts: those by which texts are edited.
        cuts: where JSONL that is read in ranges was cut before; None: it is cut for this reader alone.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        rows: range | None = None,
        ids: pa.Array | pa.ChunkedArray | None = None,
        fits_text: Collection[str] = (),
        cuts: Cuts | None = None,
    ) -> None:
        self.path, self.schema, self.rows = path, schema, rows
        self._parts = _parts(path, schema, rows, cuts)
        self._ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        self._fits_text = [(c.name, f.name) for c in schema for f in c.type if f"{c.name}.{f.name}" in fits_text]
        self._held: list[Part] = []
        self._num_held = 0
        self._taken = 0
        self._compared = 0

    @property
    def aligned_by(self) -> Literal["ids", "counts"]:
        """How the rows taken so far were found to fit: by the ids of all of them, or by their number alone."""
        return "ids" if self._taken and self._compared == self._taken else "counts"

    def take(self, batch: Batch) -> pa.Table:
        """The rows of a batch, as a table of its length.

        Raises:
            MisalignedError: fewer rows than documents, another id, or a span of `fits_text` that ends behind its text.
            DataError: a value that is wrong. All name the file, and where there is one the row, the id and the field.
        """
        ids, texts = (batch.table.column(name) for name in ("id", "text"))
        return self.take_rows(len(batch), ids=ids, texts=texts, shard=batch.shard)

    def take_rows(
        self,
        num_rows: int,
        *,
        ids: pa.Array | None = None,
        texts: pa.Array | None = None,
        chars: NDArray[np.int64] | None = None,
        shard: str = "",
    ) -> pa.Table:
        """The next rows, as a table.

        Args:
            ids: of their documents, string[num_rows]; compared where both sides have one.
            texts: string[num_rows], or chars: their code points, int64[num_rows]; not needed without `fits_text`.
            shard: for messages.

        Raises:
            As `take`.
        """
        if texts is not None and self._fits_text:
            chars = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
        parts = self._next(num_rows, ids, shard)
        start = 0
        for part in parts:
            theirs = None if ids is None else ids.slice(start, part.table.num_rows)
            self._check_ids(part, theirs, shard)
            if chars is not None:
                self._check_ends(part, theirs, chars[start : start + part.table.num_rows])
            start += part.table.num_rows
            self._taken += part.table.num_rows
        return pa.concat_tables([self.schema.empty_table(), *(part.table for part in parts)]).combine_chunks()

    def _next(self, num_rows: int, ids: pa.Array | None, shard: str) -> list[Part]:
        while self._num_held < num_rows:
            try:
                part = next(self._parts, None)
            except BadRowError as error:
                document_id = None if ids is None else ids[self._num_held].as_py()
                place = error.part.place(self.path, error.index, document_id)
                raise DataError(f"{place}: {error.what}") from error
            if part is None:
                raise MisalignedError(
                    f"{self.path}: {self._taken + self._num_held} rows, but shard {shard} has "
                    f"at least {self._taken + num_rows} documents. Tag that shard again."
                )
            self._held.append(part)
            self._num_held += part.table.num_rows
        taken: list[Part] = []
        wanted = num_rows
        while wanted:
            part = self._held.pop(0)
            if part.table.num_rows > wanted:
                self._held.insert(0, part.slice(wanted, part.table.num_rows - wanted))
                part = part.slice(0, wanted)
            taken.append(part)
            wanted -= part.table.num_rows
        self._num_held -= num_rows
        return taken

    def _check_ids(self, part: Part, theirs: pa.Array | None, shard: str) -> None:
        ours = part.ids if self._ids is None else self._ids.slice(self._taken, part.table.num_rows)
        if ours is None or theirs is None:
            return
        if len(ours) < len(theirs):
            raise MisalignedError(
                f"{self.path}: {self._taken + len(ours)} ids for at least {self._taken + len(theirs)} rows. "
                "Tag that shard again."
            )
        compared, different = first_difference(ours, theirs)
        self._compared += compared
        if different is not None:
            raise MisalignedError(
                f"{self.path}: row {part.row + different} is of id {ours[different].as_py()!r}, but "
                f"document {shard}#{self._taken + different} has id {theirs[different].as_py()!r}: "
                "attributes of other documents."
            )

    def _check_ends(self, part: Part, ids: pa.Array | None, lengths: NDArray[np.int64]) -> None:
        for column, field in self._fits_text:
            spans = pc.struct_field(part.table.column(column).combine_chunks(), field)
            lists = lists_of(spans)
            row = ends_behind(lists, lengths)
            if row is not None:
                place = part.place(self.path, row, None if ids is None else ids[row].as_py())
                start, end = next((s["start"], s["end"]) for s in spans[row].as_py() if s["end"] > lengths[row])
                raise MisalignedError(
                    f"{place}: {column}.{field}: span [{start}, {end}] ends behind the text, which has {lengths[row]} "
                    "characters. The spans were made from another text."
                )

    def finish(self, num_documents: int) -> None:
        """Check that no rows are left over after all documents.

        Raises:
            MisalignedError: more rows than documents.
        """
        rest = self._num_held
        try:
            rest += sum(part.table.num_rows for part in self._parts)
        except BadRowError as error:
            rest = error.part.row + error.index + 1 - (self.rows.start if self.rows else 0) - num_documents
        if rest:
            raise MisalignedError(f"{self.path}: {self._shown(num_documents, num_documents + rest)}")

    def _shown(self, num_documents: int, num_rows: int) -> str:
        if self.rows is None:
            return f"{num_rows} rows, but its shard has {num_documents} documents. Tag that shard again."
        return (
            f"{num_rows} rows, from row {self.rows.start} on, are those of a range that has {num_documents} documents. "
            "Attributes have a row a document; lines that are blank or cannot be read have none."
        )
