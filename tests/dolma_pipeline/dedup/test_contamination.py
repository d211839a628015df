"""From matches to columns: which items mark, which are weak, and what of a text they cover."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.dedup.contamination import MATCHES, Thresholds, document_marks, judge_matches

PLAIN = Thresholds(min_run=13, min_coverage=0.5, weak_words=8, mark_weak=False)
IDS, BENCHMARKS = ["a/0", "a/1", "b/0"], ["a", "a", "b"]


def match(row: int, item: int, coverage: float, run: int, whole: int = 0, places: Any = ((0, 5),)) -> dict[str, Any]:
    spans = [{"start": start, "end": end} for start, end in places]
    ngrams = max(run - 7, 0)
    return {
        "row": row, "item": item, "coverage": coverage, "run": run, "ngrams": ngrams, "whole": whole, "places": spans
    }  # fmt: skip


def marked(rows: list[dict[str, Any]], thresholds: Thresholds = PLAIN, *, num_rows: int = 2) -> list[dict[str, Any]]:
    table = pa.Table.from_pylist(rows, schema=MATCHES)
    judged = judge_matches(table, thresholds)
    column = document_marks(table, judged, num_rows=num_rows, ids=IDS, benchmarks=BENCHMARKS)
    return column.to_pylist()


@pytest.mark.parametrize(
    ("coverage", "run", "whole", "marks", "weak"),
    [
        (0.1, 13, 0, True, False),
        (0.49, 12, 0, False, False),
        (0.5, 8, 0, True, False),
        (0.0, 0, 8, True, False),
        (0.0, 0, 7, False, True),
        (0.2, 8, 7, False, True),
    ],
)
def test_which_items_mark(coverage: float, run: int, whole: int, marks: bool, weak: bool) -> None:
    first, second = marked([match(1, 2, coverage, run, whole)])
    assert (second["contaminated"], second["weak"], second["items"]) == (marks, weak, int(marks))
    assert bool(second["spans"]) == marks
    assert (second["benchmark"], second["item"]) == ("b", "b/0")
    assert first == {
        "contaminated": False, "weak": False, "items": 0, "coverage": 0.0, "run": 0, "ngrams": 0, "benchmark": "",
        "item": "", "spans": [],
    }  # fmt: skip


def test_a_weak_item_marks_if_asked() -> None:
    asked = Thresholds(min_run=13, min_coverage=0.5, weak_words=8, mark_weak=True)
    (row,) = marked([match(0, 1, 0.0, 0, 6)], asked, num_rows=1)
    assert (row["contaminated"], row["weak"], row["coverage"], row["run"]) == (True, False, 1.0, 6)


def test_the_item_that_marks_is_named_before_one_that_covers_more() -> None:
    strict = Thresholds(min_run=13, min_coverage=0.9, weak_words=8, mark_weak=False)
    (row,) = marked([match(0, 0, 0.8, 9), match(0, 1, 0.3, 15), match(0, 2, 0.3, 14)], strict, num_rows=1)
    assert (row["item"], row["coverage"], row["run"], row["items"]) == ("a/1", 0.8, 15, 2)


def test_spans_are_united_and_have_the_greatest_coverage() -> None:
    rows = [match(0, 0, 0.5, 13, places=[(0, 9), (20, 30)]), match(0, 1, 1.0, 13, places=[(5, 12)]),
            match(0, 2, 0.1, 8, places=[(40, 50)]), match(1, 0, 0.75, 13, places=[(0, 4), (4, 6)])]  # fmt: skip
    first, second = marked(rows)
    assert [tuple(span.values()) for span in first["spans"]] == [(0, 12, 1.0), (20, 30, 0.5)]
    assert [tuple(span.values()) for span in second["spans"]] == [(0, 6, 0.75)]


def test_no_matches() -> None:
    assert [row["contaminated"] for row in marked([], num_rows=3)] == [False] * 3
    assert marked([], num_rows=0) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from([8, 13, 20]),
            st.sampled_from([0, 6, 9]), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=4),
        ),
        unique_by=lambda one: one[:2],
    )
)  # fmt: skip
def test_equals_a_plain_twin(found: list[Any]) -> None:
    rows = [
        match(row, item, coverage, run, whole, sorted((start, start + size) for start, size in places))
        for row, item, coverage, run, whole, places in sorted(found)
    ]
    for number, got in enumerate(marked(rows, num_rows=4)):
        own = [one for one in rows if one["row"] == number]
        marks = [one for one in own if one["coverage"] >= 0.5 or one["run"] >= 13 or one["whole"] >= 8]
        assert got["items"] == len(marks)
        assert got["contaminated"] == bool(marks)
        assert got["weak"] == any(0 < one["whole"] < 8 for one in own if one not in marks)
        covers = [1.0 if one["whole"] >= 8 else one["coverage"] for one in own]
        assert got["coverage"] == max(covers, default=0.0)
        assert got["run"] == max((max(one["run"], one["whole"]) for one in own), default=0)
        best = max(
            own,
            key=lambda one: (
                one in marks, 1.0 if one["whole"] >= 8 else one["coverage"],
                max(one["run"], one["whole"] if one["whole"] >= 8 else 0), one["ngrams"], -one["item"],
            ),
            default=None,
        )  # fmt: skip
        assert got["item"] == ("" if best is None else IDS[best["item"]])
        points = {point for one in marks for place in one["places"] for point in range(place["start"], place["end"])}
        assert {point for span in got["spans"] for point in range(span["start"], span["end"])} == points
        assert all(a["end"] < b["start"] for a, b in zip(got["spans"], got["spans"][1:], strict=False))
