"""Which spans an edit changes: those between its scores, in slices, with nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.stages.edits import Edit

SCORES = [[0.1, 0.3, 0.5], [], [0.3], None, [0.8, 0.29999, None]]


def column() -> pa.StructArray:
    rows = [None if row is None else [(at, at + 1, score) for at, score in enumerate(row)] for row in SCORES]
    return pa.StructArray.from_arrays([pa.array(rows, SPANS_TYPE)], names=["spans"])


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, SCORES),
        ({"min_score": 0.3}, [[0.3, 0.5], [], [0.3], [], [0.8]]),
        ({"max_score": 0.3}, [[0.1], [], [], [], [0.29999]]),
        ({"min_score": 0.3, "max_score": 0.8}, [[0.3, 0.5], [], [0.3], [], []]),
        ({"min_score": 0.0}, [[0.1, 0.3, 0.5], [], [0.3], [], [0.8, 0.29999]]),
    ],
)
def test_spans_between_scores(bounds: dict[str, float], expected: list[list[float | None] | None]) -> None:
    for first in (0, 2):
        spans = column().slice(first)
        lists, replacement = Edit("a", "spans", b"x", **bounds).part(spans, pa.array([""] * len(spans)))
        found = lists.to_pylist()
        scores = [None if row is None else [span["score"] for span in row] for row in found]
        wanted = [None if row is None else [one and float(np.float32(one)) for one in row] for row in expected[first:]]
        assert (scores, replacement) == (wanted, b"x")
        assert lists.type == SPANS_TYPE


def test_places_go_with_their_scores() -> None:
    lists, replacement = Edit("a", "spans", None, min_score=0.5).part(column(), pa.array([""] * len(column())))
    assert [[span["start"] for span in row] for row in lists.to_pylist()] == [[2], [], [], [], [0]]
    assert replacement is None
