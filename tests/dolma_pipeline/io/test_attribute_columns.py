"""Values of any Arrow type become canonical ones: the same number, or an error that names its row."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.io.attribute_columns import converted
from dolma_pipeline.io.attribute_types import canonical
from dolma_pipeline.io.attribute_values import BadValueError, lists_of

NAN = math.nan


def values(array: pa.Array) -> list[Any]:
    made = converted(array, canonical(array.type))
    made.validate(full=True)
    assert made.type == canonical(array.type)
    found: list[Any] = made.to_pylist()
    return found


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_integers_of_every_width(width: int) -> None:
    signed, unsigned = getattr(pa, f"int{width}")(), getattr(pa, f"uint{width}")()
    least, most = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    assert values(pa.array([least, None, most], signed)) == [least, None, most]
    assert values(pa.array([0, None, most], unsigned)) == [0, None, most]


def test_what_is_beyond_64_bits_is_named() -> None:
    with pytest.raises(BadValueError) as error:
        values(pa.array([1, None, 2**63], pa.uint64()))
    assert (error.value.row, error.value.what) == (
        2,
        "9223372036854775808 (uint64) does not fit a whole number of 64 bits",
    )
    with pytest.raises(BadValueError) as error:
        values(pa.array([Decimal(10) ** 30], pa.decimal128(38, 0)))
    assert error.value.row == 0


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64()])
def test_floats_of_every_width_with_nan_as_null(type_: pa.DataType) -> None:
    array = pa.array(np.array([0.5, NAN, -3, math.inf]), pa.float64()).cast(type_)
    assert values(array) == [0.5, None, -3, math.inf]
    assert values(array.slice(1, 2)) == [None, -3]


@pytest.mark.parametrize("make", [pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256])
def test_decimals_of_every_width(make: Any) -> None:
    assert values(pa.array([Decimal("12.50"), None, Decimal("-0.25")], make(5, 2))) == [12.5, None, -0.25]
    assert values(pa.array([Decimal(12), None, Decimal(-7)], make(5, 0))) == [12, None, -7]


@given(
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=8), st.integers(0, 3)
)
def test_strings_of_every_kind(texts: list[str | None], skipped: int) -> None:
    for type_ in (pa.string(), pa.large_string(), pa.string_view()):
        assert values(pa.array(texts, type_).slice(skipped)) == texts[skipped:]
    assert values(pa.array(texts, pa.large_string()).dictionary_encode().slice(skipped)) == texts[skipped:]


def test_bytes_that_no_string_is_are_named() -> None:
    wrong = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(BadValueError, match="not valid UTF-8") as error:
        values(wrong)
    assert error.value.row == 1


def test_flags_times_and_runs_stay_what_they_are() -> None:
    assert values(pa.array([True, None, False])) == [True, None, False]
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], pa.array([7, 8], pa.int8()))
    assert values(runs) == [7, 7, 8]
    times = pa.array([0, None], pa.timestamp("s"))
    assert converted(times, times.type) is times


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_lists_keep_rows_nulls_and_order_in_slices(kind: Any) -> None:
    rows: list[Any] = [[1.0, NAN], None, [], [2.5], [None]]
    array = pa.array(rows, kind(pa.float64()))
    expected: list[Any] = [[1.0, None], None, [], [2.5], [None]]
    assert values(array) == expected
    assert values(array.slice(1, 3)) == expected[1:4]
    lists = lists_of(array.slice(2))
    assert [lists.row(i) for i in range(len(lists.values))] == [1, 2]


def test_structs_hide_what_lies_under_a_null() -> None:
    inner = pa.array([2**63, 2, 3], pa.uint64())
    array = pa.StructArray.from_arrays([inner], names=["n"], mask=pa.array([True, False, False]))
    assert values(array) == [None, {"n": 2}, {"n": 3}]
    with pytest.raises(BadValueError) as error:
        values(pa.StructArray.from_arrays([inner.take(pa.array([1, 0]))], names=["n"]))
    assert error.value.row == 1


def test_a_list_that_holds_a_wrong_value_is_named_by_its_row() -> None:
    array = pa.array([[1], None, [2, 2**64 - 1], [3]], pa.large_list(pa.uint64()))
    with pytest.raises(BadValueError) as error:
        values(array)
    assert error.value.row == 2


def test_other_files_of_an_attribute_keep_their_values_or_are_told() -> None:
    whole = pa.array([1.0, None, 3.0])
    assert converted(whole, pa.int64()).to_pylist() == [1, None, 3]
    assert converted(pa.array([1.0, NAN]), pa.int64()).to_pylist() == [1, None]
    assert converted(pa.array([2, None], pa.int8()), pa.float64()).to_pylist() == [2.0, None]
    assert converted(pa.array([0.5]), pa.float32()).to_pylist() == [0.5]
    assert converted(pa.nulls(2), pa.string()).to_pylist() == [None, None]
    for array, wanted, row, shown in (
        (pa.array([1.0, 1.5]), pa.int64(), 1, "1.5 (double) does not fit a whole number of 64 bits"),
        (
            pa.array([None, 2.0**63]),
            pa.int64(),
            1,
            "9.223372036854776e+18 (double) does not fit a whole number of 64 bits",
        ),
        (pa.array([0.5, 0.1]), pa.float32(), 1, "0.1 (double) does not fit a float"),
        (pa.array([2**53 + 1]), pa.float64(), 0, "9007199254740993 (int64) does not fit a double"),
    ):
        with pytest.raises(BadValueError) as error:
            converted(array, wanted)
        assert error.value.row == row
        assert error.value.what == shown


def test_what_is_right_already_is_not_copied() -> None:
    column = pa.array([{"n": 1, "x": 0.5, "s": "a", "l": [{"start": 0, "end": 1, "score": 0.5}]}]).cast(
        pa.struct(
            [
                ("n", pa.int64()),
                ("x", pa.float64()),
                ("s", pa.string()),
                ("l", canonical(pa.list_(pa.struct([("start", pa.int8()), ("end", pa.int8())])))),
            ]
        )
    )
    assert converted(column, column.type) is column
