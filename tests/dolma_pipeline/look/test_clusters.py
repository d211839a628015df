"""Pairs that a look has compared are not compared again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dolma_pipeline.look.clusters import remembering

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(7, 12)), unique=True, max_size=20)


@given(st.lists(pairs, max_size=5))
def test_a_pair_is_compared_once_whatever_is_asked_in_between(rounds: list[list[tuple[int, int]]]) -> None:
    asked: list[tuple[int, int]] = []

    def compare(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.extend(zip(left.tolist(), right.tolist(), strict=True))
        return np.where((left + right) % 3 == 0, np.nan, left / 10 + right)

    like = remembering(compare)
    for one in rounds:
        left, right = (np.array([pair[i] for pair in one], np.int64) for i in (0, 1))
        expected = np.where((left + right) % 3 == 0, np.nan, left / 10 + right)
        assert np.array_equal(like(left, right), expected, equal_nan=True)
    assert sorted(asked) == sorted({pair for one in rounds for pair in one})
