"""Dolma's span lists as Arrow lists of number lists, of any kinds."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attribute_values import BadValueError
from dolma_pipeline.io.spans_numbers import number_list_spans

KINDS = [pa.list_, pa.large_list, pa.list_view]


@pytest.mark.parametrize("number", [pa.float64(), pa.float32(), pa.int64(), pa.uint8()], ids=str)
@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_lists_of_every_kind_and_number(number: pa.DataType, outer: Any, inner: Any) -> None:
    rows: list[Any] = [[[0, 5, 1], [5, 5]], None, [], [[2, 3, None]]]
    array = pa.array(rows, outer(inner(number)))
    made = number_list_spans(array)
    made.validate(full=True)
    assert made.type == SPANS_TYPE
    assert [[tuple(s.values()) for s in r] for r in made.to_pylist()] == [
        [(0, 5, 1.0), (5, 5, 1.0)],
        [],
        [],
        [(2, 3, None)],
    ]
    assert number_list_spans(array.slice(3)).to_pylist() == made.slice(3).to_pylist()


def test_fixed_size_lists_and_lists_of_nothing() -> None:
    triples = pa.array([[[0, 1, 0.5]], []], pa.list_(pa.list_(pa.float64(), 3)))
    assert number_list_spans(triples).to_pylist() == [[{"start": 0, "end": 1, "score": 0.5}], []]
    assert number_list_spans(pa.array([[], None], pa.list_(pa.list_(pa.null())))).to_pylist() == [[], []]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ([[0.0, 1.0, 0.5, 1.0]], "expected a span [start, end, score], found 4 numbers"),
        ([[0.0, 1.0], [1.0]], "expected a span [start, end, score], found 1 numbers"),
        ([None], "expected a span [start, end, score], found null"),
        ([[None, 1.0, 0.5]], "a span whose start is null; expected a whole number"),
        ([[0.5, 1.0, 0.5]], "a span whose start is 0.5; expected a whole number"),
        ([[3.0, 1.0, 0.5]], "span [3, 1]: 0 <= start <= end must hold"),
    ],
)
def test_wrong_spans_are_named_by_their_row(wrong: Any, what: str) -> None:
    with pytest.raises(BadValueError) as error:
        number_list_spans(pa.array([[[0.0, 1.0, 1.0]], None, wrong], pa.list_(pa.list_(pa.float64()))))
    assert (error.value.row, error.value.what) == (2, what)
