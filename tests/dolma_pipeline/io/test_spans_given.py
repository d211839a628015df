"""Span lists of any make: right spans come out the same, wrong ones are named by their row."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attribute_columns import converted
from dolma_pipeline.io.attribute_types import canonical
from dolma_pipeline.io.attribute_values import BadValueError, lists_of
from dolma_pipeline.io.spans_given import MAX_END, ends_behind

WIDTHS = [getattr(pa, f"{sign}int{width}")() for sign in ("", "u") for width in (8, 16, 32, 64)]
PLACES = [*WIDTHS, pa.float32(), pa.float64(), pa.decimal128(12, 2)]
LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]

ROWS: list[Any] = [[(0, 3, 0.5), (3, 3, None)], None, [], [(1, 100, 1.0)]]


def column(type_: pa.DataType, rows: list[Any], names: tuple[str, ...] = ("start", "end", "score")) -> pa.Array:
    return pa.array([None if r is None else [dict(zip(names, s, strict=True)) for s in r] for r in rows], type_)


def shown(array: pa.Array) -> list[Any]:
    array.validate(full=True)
    assert array.type == SPANS_TYPE
    return [None if r is None else [tuple(s.values()) for s in r] for r in array.to_pylist()]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("make", LISTS)
def test_spans_of_every_width_and_kind_of_list(place: pa.DataType, make: Any) -> None:
    type_ = make(pa.struct([("start", place), ("end", place), ("score", pa.float64())]))
    if pa.types.is_decimal(place):
        rows = [r and [(Decimal(a), Decimal(b), s) for a, b, s in r] for r in ROWS]
    else:
        rows = ROWS
    array = column(type_, rows)
    assert shown(converted(array, SPANS_TYPE)) == ROWS
    assert shown(converted(array.slice(1), SPANS_TYPE)) == ROWS[1:]


def test_fixed_size_lists() -> None:
    type_ = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.float16())]), 1)
    array = column(type_, [[(0, 1, np.float16(0.5))], None, [(2, 3, np.float16(1))]])
    assert shown(converted(array, SPANS_TYPE)) == [[(0, 1, 0.5)], None, [(2, 3, 1.0)]]


@pytest.mark.parametrize(
    ("score", "given_", "expected"),
    [
        (pa.int8(), 1, 1.0),
        (pa.uint64(), 7, 7.0),
        (pa.bool_(), True, 1.0),
        (pa.float32(), math.nan, None),
        (pa.float64(), math.nan, None),
        (pa.float64(), math.inf, math.inf),
        (pa.float64(), None, None),
        (pa.null(), None, None),
        (pa.decimal128(9, 2), Decimal("0.25"), 0.25),
    ],
    ids=str,
)
def test_scores_of_every_kind(score: pa.DataType, given_: Any, expected: float | None) -> None:
    type_ = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("score", score)]))
    assert shown(converted(column(type_, [[], [(0, 1, given_)]]), SPANS_TYPE)) == [[], [(0, 1, expected)]]


def test_fields_in_any_order_without_a_score_and_with_more() -> None:
    turned = pa.list_(pa.struct([("end", pa.int64()), ("start", pa.int64())]))
    array = column(turned, [[(4, 2)]], ("end", "start"))
    assert shown(converted(array, SPANS_TYPE)) == [[(2, 4, 1.0)]]
    more = pa.list_(pa.struct([("label", pa.large_string()), ("end", pa.int64()), ("start", pa.int64())]))
    array = column(more, [[("a", 4, 2)], [("b", 1, 1), (None, 2, 0)]], ("label", "end", "start"))
    made = converted(array, canonical(more))
    assert made.to_pylist() == [
        [{"start": 2, "end": 4, "score": 1.0, "label": "a"}],
        [{"start": 1, "end": 1, "score": 1.0, "label": "b"}, {"start": 0, "end": 2, "score": 1.0, "label": None}],
    ]
    assert shown(converted(array, SPANS_TYPE)) == [[(2, 4, 1.0)], [(1, 1, 1.0), (0, 2, 1.0)]]


@pytest.mark.parametrize(
    ("place", "span", "what"),
    [
        (pa.int64(), (10, 5, 1.0), "span [10, 5]: 0 <= start <= end must hold"),
        (pa.int32(), (-1, 5, 1.0), "span [-1, 5]: 0 <= start <= end must hold"),
        (pa.float64(), (-2.0, -1.0, 1.0), "span [-2, -1]: 0 <= start <= end must hold"),
        (pa.int64(), (0, MAX_END + 1, 1.0), "span [0, 2147483648]: no text has 2147483647 characters"),
        (pa.uint64(), (0, 2**64 - 1, 1.0), "a span whose end is 18446744073709551615; expected a whole number"),
        (pa.float64(), (0.5, 1.0, 1.0), "a span whose start is 0.5; expected a whole number"),
        (pa.float64(), (0.0, math.nan, 1.0), "a span whose end is NaN; expected a whole number"),
        (pa.float64(), (0.0, math.inf, 1.0), "a span whose end is inf; expected a whole number"),
        (pa.int64(), (None, 1, 1.0), "a span whose start is null; expected a whole number"),
        (pa.int64(), (0, 1, 1e300), "a span whose score is 1e+300, beyond what a float32 holds"),
    ],
)
def test_wrong_spans_are_named_by_their_row(place: pa.DataType, span: tuple[Any, ...], what: str) -> None:
    type_ = pa.large_list(pa.struct([("start", place), ("end", place), ("score", pa.float64())]))
    right = (type(span[1])(0), type(span[1])(1), 1.0)
    for rows, row in (([[right, right], None, [right, span], [span]], 2), ([[span]], 0)):
        with pytest.raises(BadValueError) as error:
            converted(column(type_, rows), SPANS_TYPE)
        assert (error.value.row, error.value.what) == (row, what)


def test_a_null_among_the_spans_and_a_score_that_is_no_number_are_named() -> None:
    with pytest.raises(BadValueError, match="a null among the spans") as error:
        converted(pa.array([[], [{"start": 0, "end": 1, "score": 0.5}, None]], SPANS_TYPE), SPANS_TYPE)
    assert error.value.row == 1
    type_ = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("score", pa.string())]))
    with pytest.raises(BadValueError, match=r"a span whose score is 'high' \(string\); expected a number") as error:
        converted(column(type_, [[], [(0, 1, "high")]]), SPANS_TYPE)
    assert error.value.row == 1


def test_what_lies_under_a_null_list_is_not_looked_at() -> None:
    spans = column(SPANS_TYPE, [[(0, 1, 1.0)], [(5, 2, 1.0)]])
    hidden = pa.ListArray.from_arrays(spans.offsets, spans.values, mask=pa.array([False, True]))
    assert shown(converted(hidden, SPANS_TYPE)) == [[(0, 1, 1.0)], None]


@given(st.lists(st.none() | st.lists(st.tuples(st.integers(0, 5), st.integers(5, 9)), max_size=3), max_size=6))
def test_ends_behind_their_texts(rows: list[list[tuple[int, int]] | None]) -> None:
    array = column(SPANS_TYPE, [r if r is None else [(a, b, 1.0) for a, b in r] for r in rows])
    lengths = np.arange(len(rows), dtype=np.int64) + 5
    expected = next((i for i, r in enumerate(rows) if any(end > lengths[i] for _, end in r or [])), None)
    assert ends_behind(lists_of(array), lengths) == expected
