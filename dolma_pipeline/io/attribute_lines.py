"""Dolma's attribute lines: `{"id", "attributes": {"exp__tagger__type": [[start, end, score], …]}, "source"}`.

Everything is a span list (`io.spans_json`); a name that a line does not have is an empty list. Fields that nobody
wants are not looked at. Of a file whose documents are read in ranges, rows in the middle are read by a cut of it
(`io.attribute_cut`).
Cost: 3 to 5 microseconds a line, and 1 a span.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.arrow_values import id_text
from dolma_pipeline.io.attribute_names import dolma_schema, keys_of, split_name
from dolma_pipeline.io.attribute_part import Part, parts_until_fault
from dolma_pipeline.io.attribute_values import BadValueError
from dolma_pipeline.io.spans_json import span_lists
from dolma_pipeline.io.streams import Damaged, Overlong, Source, decompressed, line_blocks

PART_ROWS = 1000
SHAPE = 'An attribute line is {"id": …, "attributes": {"exp__tagger__type": [[start, end, score], …]}}.'


_BOM = b"\xef\xbb\xbf"


class Blocks(NamedTuple):
    """Whole lines of a file, from some place on.

    row, line: rows (lines that are not blank) and lines before that place. blocks: lines that end at newlines.
    """

    row: int
    line: int
    blocks: Iterator[bytes]


class _Line(NamedTuple):
    number: int
    id: object
    attributes: dict[str, Any]


@contextmanager
def line_errors(path: Path) -> Iterator[None]:
    """Errors of a damaged file name it."""
    try:
        yield
    except Damaged as error:
        raise DataError(f"{path}: {error}") from error


def whole_blocks(path: Path, *, block_bytes: int = 8_000_000) -> Iterator[bytes]:
    """The lines of a file, decompressed, in blocks that end at newlines.

    Raises:
        DataError: the file is damaged, or a line is too long to be read.
    """
    lines = 0
    with open(path, "rb") as file, line_errors(path):
        for block in line_blocks(decompressed(Source(file)), block_bytes=block_bytes):
            if isinstance(block, Overlong):
                raise DataError(f"{path}:{lines + 1}: a line of {block.num_bytes} bytes: too long")
            lines += block.count(b"\n")
            yield block


def lines_schema(path: Path) -> pa.Schema:
    """Every name that occurs in a file, as struct columns of span lists.

    Raises:
        DataError: the file is damaged, or a line is not an attribute line.
    """
    names: dict[str, set[str]] = {}
    for key in {key for line in _lines(path, Blocks(0, 0, whole_blocks(path)), None) for key in line.attributes}:
        column, field = split_name(key)
        names.setdefault(column, set()).add(field)
    return dolma_schema(names)


def lines_parts(path: Path, schema: pa.Schema, blocks: Blocks, rows: range | None) -> Iterator[Part]:
    """The rows of a file, or some of them.

    Args:
        schema: struct columns of span lists. blocks: from a place before the rows wanted. rows: None: all.

    Raises:
        DataError: the file is damaged, or a line is not an attribute line.
        BadRowError: an invalid span; the rows before it were given out.
    """
    keys = {(c.name, f.name): keys_of(c.name, f.name) for c in schema for f in c.type}
    row = blocks.row if rows is None else rows.start
    held: list[_Line] = []
    for line in _lines(path, blocks, rows):
        held.append(line)
        if len(held) == PART_ROWS:
            yield from _parts(path, schema, keys, held, row)
            row += len(held)
            held = []
    if held:
        yield from _parts(path, schema, keys, held, row)


def _lines(path: Path, blocks: Blocks, rows: range | None) -> Iterator[_Line]:
    row, number = blocks.row, blocks.line
    for block in blocks.blocks:
        for text in block.removesuffix(b"\n").split(b"\n"):
            number += 1
            if number == 1:
                text = text.removeprefix(_BOM)
            if not text.strip():
                continue
            if rows is not None and row >= rows.stop:
                return
            if rows is None or row >= rows.start:
                yield _parsed(text, path, number)
            row += 1


def _parsed(text: bytes, path: Path, number: int) -> _Line:
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: invalid JSON: {error.msg}. {SHAPE}") from error
    if type(line) is not dict:
        raise DataError(f"{path}:{number}: expected a JSON object, found {_kind(line)}. {SHAPE}")
    attributes = line.get("attributes")
    if type(attributes) is not dict:
        have = f"found {_kind(attributes)}" if "attributes" in line else f"there are: {', '.join(line) or 'no keys'}"
        raise DataError(f"{path}:{number}: expected an object 'attributes', {have}. {SHAPE}")
    return _Line(number, line.get("id"), attributes)


def _parts(
    path: Path, schema: pa.Schema, keys: dict[tuple[str, str], list[str]], lines: list[_Line], row: int
) -> Iterator[Part]:
    part = Part(schema.empty_table(), _ids(lines), row, np.array([line.number for line in lines], np.int64))
    wanted = {place: [_value(path, line, names) for line in lines] for place, names in keys.items()}

    def table(count: int) -> pa.Table:
        columns = []
        for column in schema:
            places = [(column.name, field.name) for field in column.type]
            children = [_spans(place, wanted[place][:count]) for place in places]
            columns.append(pa.StructArray.from_arrays(children, fields=list(column.type)))
        return pa.Table.from_arrays(columns, schema=schema)

    yield from parts_until_fault(part, len(lines), table)


def _spans(place: tuple[str, str], values: list[Any]) -> pa.ListArray:
    try:
        return span_lists(values)
    except BadValueError as error:
        raise BadValueError(error.row, f"{'.'.join(place)}: {error.what}") from error


def _value(path: Path, line: _Line, names: list[str]) -> Any:
    present = [name for name in names if name in line.attributes]
    if len(present) > 1:
        raise DataError(f"{path}:{line.number}: {' and '.join(present)} mean the same attribute. Rename one of them.")
    return line.attributes[present[0]] if present else []


def _ids(lines: list[_Line]) -> pa.StringArray:
    ids = [line.id for line in lines]
    if not {*map(type, ids)} <= {str, type(None)}:
        ids = [id_text(one) for one in ids]
    return pa.array(ids, pa.string())


def _kind(value: object) -> str:
    kinds = {list: "an array", dict: "an object", str: "a string", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
