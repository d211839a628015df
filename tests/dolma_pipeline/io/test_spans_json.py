"""Spans as JSON has them: Dolma's, and what others write for the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attribute_values import BadValueError
from dolma_pipeline.io.spans_json import span_lists

PLACE = st.integers(0, 2**31 - 1)
SCORE = st.one_of(st.floats(width=32, allow_nan=False), st.integers(-(2**24), 2**24), st.booleans(), st.none())


def as_written(place: int, as_float: bool) -> Any:
    return float(place) if as_float else place


SPAN = st.tuples(PLACE, PLACE, st.booleans(), st.booleans(), st.one_of(st.just("absent"), SCORE))


def oracle(rows: list[Any]) -> list[Any]:
    """The rows in plain Python."""
    found: list[Any] = []
    for row in rows:
        if row is None:
            found.append(None)
            continue
        scores = [1.0 if len(s) == 2 else None if s[2] is None else float(np.float32(s[2])) for s in row]
        found.append([(int(s[0]), int(s[1]), score) for s, score in zip(row, scores, strict=True)])
    return found


@given(st.lists(st.none() | st.lists(SPAN, max_size=3), max_size=6))
def test_right_spans_of_every_make(drawn: list[Any]) -> None:
    rows: list[Any] = []
    for row in drawn:
        spans: list[Any] = []
        for one, other, first_float, second_float, score in row or []:
            start, end = sorted((one, other))
            spans.append([as_written(start, first_float), as_written(end, second_float)])
            spans[-1] += [] if score == "absent" else [score]
        rows.append(None if row is None else spans)
    made = span_lists(rows)
    made.validate(full=True)
    assert made.type == SPANS_TYPE
    assert [r if r is None else [tuple(s.values()) for s in r] for r in made.to_pylist()] == oracle(rows)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (0.7, "expected a list of spans [start, end, score], found 0.7"),
        ("a", 'expected a list of spans [start, end, score], found "a"'),
        ({"start": 0}, 'expected a list of spans [start, end, score], found {"start":0}'),
        ([0, 5, 0.3], "expected a span [start, end, score], found 0"),
        ([[0, 5, 0.3, 1]], "expected a span [start, end, score], found [0,5,0.3,1]"),
        ([[0]], "expected a span [start, end, score], found [0]"),
        ([[]], "expected a span [start, end, score], found []"),
        ([None], "expected a span [start, end, score], found null"),
        ([[True, 5, 0.3]], "span [true,5,0.3]: start and end must be whole numbers"),
        ([[0, "5", 0.3]], 'span [0,"5",0.3]: start and end must be whole numbers'),
        ([[None, 5, 0.3]], "span [null,5,0.3]: start and end must be whole numbers"),
        ([[0, 5, "0.3"]], 'span [0,5,"0.3"]: the score must be a number, true, false or null'),
        ([[0, 5, [1]]], "span [0,5,[1]]: the score must be a number, true, false or null"),
        ([[0.5, 5, 0.3]], "a span whose start is 0.5; expected a whole number"),
        ([[0, 1e300, 0.3]], "a span whose end is 1e+300; expected a whole number"),
        ([[5, 2, 0.3]], "span [5, 2]: 0 <= start <= end must hold"),
        ([[-1, 2, 0.3]], "span [-1, 2]: 0 <= start <= end must hold"),
        ([[0, 2**31, 0.3]], "span [0, 2147483648]: no text has 2147483647 characters"),
        ([[0, 2**64 - 1, 0.3]], "a span whose end is 1.8446744073709552e+19; expected a whole number"),
        ([[0, 2, 1e39]], "a span whose score is 1e+39, beyond what a float32 holds"),
    ],
)
def test_wrong_spans_are_named_with_their_row(wrong: Any, what: str) -> None:
    with pytest.raises(BadValueError) as error:
        span_lists([[[0, 1, 1]], None, wrong, wrong])
    assert (error.value.row, error.value.what) == (2, what)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(BadValueError) as error:
        span_lists(["x" * 999])
    assert len(error.value.what) < 120
    assert error.value.what.endswith("…")


def test_no_rows_and_no_spans() -> None:
    assert span_lists([]).to_pylist() == []
    assert span_lists([[], None, []]).to_pylist() == [[], None, []]
    assert math.isinf(span_lists([[[0, 0, math.inf]]]).to_pylist()[0][0]["score"])
