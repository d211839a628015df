"""Numbers and lists of any Arrow type, as the types of `io.attribute_types`.

NaN is a null: DuckDB sorts NaN above every number, so it would pass `score > 0.5`. A value that its column cannot hold
is a `BadValueError`, never another value. Arrow's own casts do the work, around their faults.
Cost: nothing where the type is right already, but for one look at each float.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from dolma_pipeline.errors import DataError


class BadValueError(DataError):
    """A value that is wrong or does not fit its column.

    Attributes:
        row: index in the array that was converted. what: the fault, without its place.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(f"value {row}: {what}")
        self.row, self.what = row, what

    def __reduce__(self) -> tuple[object, ...]:
        return BadValueError, (self.row, self.what)


class Lists(NamedTuple):
    """A list column of any kind: `values[offsets[i]:offsets[i + 1]]` is list i, `null[i]` whether it is null."""

    offsets: NDArray[np.int64]
    values: pa.Array
    null: NDArray[np.bool_]

    def row(self, value: int) -> int:
        """The list that holds a value."""
        return int(np.searchsorted(self.offsets, value, side="right")) - 1

    def array(self, values: pa.Array, type_: pa.ListType | None) -> pa.ListArray:
        """Lists of the same lengths of other values; of type None: of what the values are."""
        mask = pa.array(self.null) if self.null.any() else None
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), values, type=type_, mask=mask)


def lists_of(array: pa.Array) -> Lists:
    """A list array of any kind, sliced or not. Not by `cast`, which loses items of sliced list views (Arrow 25)."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    null = array.is_null().to_numpy(zero_copy_only=False)
    return Lists(np.concatenate([[0], np.cumsum(lengths)]), array.flatten(), null)


def number(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Numbers as int64, float32 or float64; NaN as null; none as another number (decimals may be rounded).

    Raises:
        BadValueError: a value that the type cannot hold.
    """
    if types.is_float16(array.type):
        array = array.cast(pa.float32())  # Arrow 25 casts their bits to integers, not their values
    elif types.is_decimal32(array.type) or types.is_decimal64(array.type):
        array = array.cast(pa.decimal128(38, array.type.scale))  # Arrow 25 finds 12 too large for int64
    if types.is_floating(array.type):
        nan = pc.is_nan(array)
        if pc.any(nan).as_py():
            array = pc.if_else(nan, pa.scalar(None, array.type), array)
    if array.type == wanted:
        return array
    if types.is_float64(array.type) and types.is_float32(wanted):
        narrow = array.cast(wanted)
        _check(array, pc.not_equal(narrow.cast(pa.float64()), array), wanted)
        return narrow
    try:
        return array.cast(wanted)
    except pa.ArrowInvalid:
        _check(array, pa.array([not _fits(array.slice(i, 1), wanted) for i in range(len(array))]), wanted)
        raise


def _fits(one: pa.Array, wanted: pa.DataType) -> bool:
    try:
        one.cast(wanted)
    except pa.ArrowInvalid:
        return False
    return True


def _check(array: pa.Array, wrong: pa.BooleanArray, wanted: pa.DataType) -> None:
    if pc.any(wrong).as_py():
        row = int(pc.index(wrong, True).as_py())
        kind = "a whole number of 64 bits" if types.is_integer(wanted) else f"a {wanted}"
        raise BadValueError(row, f"{array[row].as_py()} ({array.type}) does not fit {kind}")
