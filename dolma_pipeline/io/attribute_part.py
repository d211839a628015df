"""A piece of an attribute file: rows of the columns wanted, and where in the file each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_values import BadValueError


class Part(NamedTuple):
    """Rows that follow each other in an attribute file.

    table: the columns wanted, n rows. ids: string[n], or None where the file has none.
    row: of the first one in the file. lines: 1-based line of each, int64[n]; None for Parquet.
    """

    table: pa.Table
    ids: pa.StringArray | None
    row: int
    lines: NDArray[np.int64] | None

    def slice(self, start: int, count: int) -> Part:
        """Some of the rows."""
        return Part(
            self.table.slice(start, count),
            None if self.ids is None else self.ids.slice(start, count),
            self.row + start,
            None if self.lines is None else self.lines[start : start + count],
        )

    def place(self, path: Path, index: int, document_id: str | None = None) -> str:
        """Where a row stands: `scores.jsonl:1204: row 1203 (id 'a1203')`.

        document_id: shown where the file has no ids.
        """
        line = "" if self.lines is None else f":{self.lines[index]}"
        id_ = None if self.ids is None else self.ids[index].as_py()
        id_ = document_id if id_ is None else id_
        return f"{path}{line}: row {self.row + index}" + ("" if id_ is None else f" (id {id_!r})")


class BadRowError(DataError):
    """A row that cannot be read; those before it were given out.

    Attributes:
        part: without a table. index: of the row in it. what: field and fault.
    """

    def __init__(self, part: Part, index: int, what: str) -> None:
        super().__init__(f"row {part.row + index}: {what}")
        self.part, self.index, self.what = part, index, what


def parts_until_fault(part: Part, num_rows: int, convert: Callable[[int], pa.Table]) -> Iterator[Part]:
    """One part of `num_rows` rows; if one of them is wrong, those before it, then the error.

    Args:
        part: ids, row and lines. convert: the table of the first rows, as many as it is told.

    Raises:
        BadRowError: after the rows before it were given out.
    """
    stop, fault = num_rows, ""
    while True:
        try:
            table = convert(stop)
        except BadValueError as error:
            stop, fault = error.row, error.what
            continue
        if stop:
            yield part._replace(table=table).slice(0, stop)
        if fault:
            raise BadRowError(part, stop, fault)
        return
