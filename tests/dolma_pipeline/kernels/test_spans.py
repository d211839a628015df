"""Byte positions become code points: `text[start:end]` is the stretch of bytes, in every script and order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPAN_TYPE, SPANS_TYPE, Batch
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.kernels import spans
from dolma_pipeline.kernels.spans import line_lists, point_lists, span_lists

TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("aé中😀"), max_size=30)


def lists(batch: Batch, cuts: list[tuple[int, int, int, float]]) -> pa.ListArray:
    columns = list(zip(*cuts, strict=True)) if cuts else [[], [], [], []]
    arrays = [np.array(column, np.int64) for column in columns[:3]]
    return span_lists(batch.text, *arrays, np.array(columns[3], np.float64))


def byte_cuts(texts: list[str], points: list[tuple[int, int, int]], origin: int) -> list[tuple[int, int, int, float]]:
    """The same stretches as byte positions in one buffer that begins with `origin` other bytes."""
    before = np.cumsum([origin, *(len(text.encode()) for text in texts)])
    return [
        (
            row,
            int(before[row]) + len(texts[row][:start].encode()),
            int(before[row]) + len(texts[row][:end].encode()),
            0.5,
        )
        for row, start, end in points
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=5), st.data())
def test_spans_come_back_as_they_were_cut_in_any_order(texts: list[str], draw: st.DataObject) -> None:
    dropped = draw.draw(st.integers(0, 1))
    batch = Batch(Batch.of(texts).table.slice(dropped))
    origin, texts = len("".join(texts[:dropped]).encode()), texts[dropped:]
    points = []
    for row, text in enumerate(texts):
        edge = st.integers(0, len(text))
        points += [(row, *sorted(pair)) for pair in draw.draw(st.lists(st.tuples(edge, edge), max_size=6))]
    found = lists(batch, byte_cuts(texts, points, origin)).to_pylist()
    assert found == [
        [{"start": start, "end": end, "score": 0.5} for at, start, end in points if at == row]
        for row in range(len(texts))
    ]


def test_types_are_those_of_the_data_model() -> None:
    assert spans.SPAN_TYPE == SPAN_TYPE
    assert lists(Batch.of(["ab"]), [(0, 0, 1, 0.25)]).type == SPANS_TYPE
    assert lists(Batch.of(["ab"]), []).to_pylist() == [[]]
    assert lists(Batch.of([]), []).to_pylist() == []


def test_many_spans_given_backwards_are_not_slow_and_right() -> None:
    text = "é" * 200_000
    at = np.arange(0, 400_000, 2)[::-1]
    found = span_lists(Batch.of([text]).text, np.zeros(len(at), int), at, at + 2, np.ones(len(at)))
    starts = found.values.field("start").to_numpy()
    assert np.array_equal(starts, np.arange(200_000)[::-1])
    assert np.array_equal(found.values.field("end").to_numpy(), starts + 1)


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ((0, 2, 1, 1.0), "span 2:1 of document 0 of the batch is not a stretch of its text: its bytes are 0:4"),
        ((0, 3, 5, 1.0), "its bytes are 0:4"),
        ((1, 3, 5, 1.0), "span 3:5 of document 1 of the batch"),
        ((0, 1, 2, 1.0), "cut no character in two"),
        ((0, 2, 3, 1.0), "not a stretch"),
        ((2, 0, 1, 1.0), "rows of spans must ascend, from 0 to 1 in this batch"),
        ((-1, 0, 1, 1.0), "must ascend"),
    ],
)
def test_a_wrong_span_is_named(cut: tuple[int, int, int, float], says: str) -> None:
    with pytest.raises(TaggerError, match=says):
        lists(Batch.of(["éé", "ab"]), [cut])


def test_rows_that_descend_and_columns_of_other_lengths_are_refused() -> None:
    batch = Batch.of(["ab", "cd"])
    with pytest.raises(TaggerError, match="must ascend"):
        lists(batch, [(1, 2, 3, 1.0), (0, 0, 1, 1.0)])
    with pytest.raises(TaggerError, match="different lengths: 1, 1, 1, 2"):
        span_lists(batch.text, np.array([0]), np.array([0]), np.array([1]), np.ones(2))


def test_point_lists_take_code_points_as_they_are() -> None:
    rows, starts, ends = np.array([1, 1]), np.array([4, 0]), np.array([5, 3])
    found = point_lists(rows, starts, ends, np.array([1.0, 0.5]), num_rows=3)
    assert found.type == SPANS_TYPE
    assert found.to_pylist() == [[], [{"start": 4, "end": 5, "score": 1.0}, {"start": 0, "end": 3, "score": 0.5}], []]


@given(st.lists(st.text(st.sampled_from("a\né中😀 "), max_size=12), min_size=1, max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_lists_of_lines_are_what_plain_python_gives(texts: list[str], data: st.DataObject) -> None:
    batch = Batch.of(texts)
    num_lines = len(batch.lines.starts)
    flags = data.draw(st.lists(st.integers(0, 7), min_size=num_lines, max_size=num_lines))
    lists = line_lists(batch.lines, np.array(flags, np.uint8), (1, 4))
    for bit, found in zip((1, 4), lists, strict=True):
        left, expected = iter(flags), []
        for text in texts:
            spans, at = [], 0
            for line in text.split("\n"):
                end = min(at + len(line) + 1, len(text))
                if next(left) & bit and end > at:
                    spans.append({"start": at, "end": end, "score": 1.0})
                at = end
            expected.append(spans)
        assert found.to_pylist() == expected
        assert found.type == SPANS_TYPE
