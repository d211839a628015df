"""Parts are cut where they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.cuts import cut_points, part_of


def twin_cut_points(keys: list[int], tokens: list[int], max_tokens: int) -> list[int]:
    """Document by document."""
    totals: dict[int, int] = {}
    for key, count in zip(keys, tokens, strict=True):
        totals[key] = totals.get(key, 0) + count
    cuts, filled, empty = [], 0, True
    for key in sorted(totals):
        if not empty and filled + totals[key] > max_tokens:
            cuts.append(key)
            filled = 0
        filled += totals[key]
        empty = False
    return cuts


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 40) | st.integers(0, 2**64 - 1), st.integers(0, 12)), max_size=40),
    st.integers(1, 30),
)
def test_cut_points_fill_parts(rows: list[tuple[int, int]], max_tokens: int):
    keys = np.array([key for key, _ in rows], np.uint64)
    tokens = np.array([count for _, count in rows], np.int64)
    cuts = cut_points(keys, tokens, max_tokens=max_tokens)
    assert cuts.dtype == np.uint64
    assert cuts.tolist() == twin_cut_points(keys.tolist(), tokens.tolist(), max_tokens)
    parts = part_of(keys, cuts)
    for part in range(len(cuts) + 1):
        mine = parts == part
        assert tokens[mine].sum() <= max_tokens or len(np.unique(keys[mine][tokens[mine] > 0])) == 1
        assert mine.any() or len(rows) == 0


def test_parts_of_no_tokens():
    with pytest.raises(UsageError, match="parts of at most 0 tokens"):
        cut_points(np.zeros(1, np.uint64), np.ones(1, np.int64), max_tokens=0)


def test_a_cut_belongs_to_the_later_part():
    assert part_of(np.array([0, 9, 10, 11], np.uint64), np.array([10], np.uint64)).tolist() == [0, 0, 1, 1]
