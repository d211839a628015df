"""Repeats and joined spans against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.repeats import ELSEWHERE, REPEAT, flags_of, joined, tied

UNITS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 4)), max_size=40)
"""Key, more of it, document."""


@settings(max_examples=300, deadline=None)
@given(UNITS, st.permutations(range(5)), st.booleans(), st.randoms(use_true_random=False))
def test_all_but_the_first_of_equal_units_are_repeats(
    units: list[tuple[int, int, int]], place: list[int], wide: bool, random: object
) -> None:
    random.shuffle(units)  # type: ignore[attr-defined]
    keys, more, documents = (np.array([unit[i] for unit in units], np.int64) for i in range(3))
    # some are equal, some in their upper bits alone, some in their lower
    keys = np.array([0, 1, 2, 1 << 63, (1 << 63) + 1, (1 << 64) - 1], np.uint64)[keys]
    names = [(int(key), int(rest) if wide else 0) for key, rest in zip(keys, more, strict=True)]
    numbers = np.arange(len(units))
    wide_more = more.astype(np.uint64) if wide else None
    flags = flags_of(keys, np.array(place, np.int64)[documents], numbers, more=wide_more)
    for i, name in enumerate(names):
        same = [j for j, other in enumerate(names) if other == name]
        first = min(same, key=lambda j: (place[documents[j]], j))
        assert bool(flags[i] & REPEAT) == (i != first)
        assert bool(flags[i] & ELSEWHERE) == (len({int(documents[j]) for j in same}) > 1)
    assert tied(keys, wide_more).tolist() == [names.count(name) > 1 for name in names]


@settings(max_examples=200, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=30), st.integers(1, 6))
def test_units_that_overlap_or_touch_are_one_span(units: set[tuple[int, int]], size: int) -> None:
    rows, begins = (np.array([unit[i] for unit in sorted(units)], np.int64) for i in range(2))
    found = joined(rows, (begins, begins + size), (begins * 10, (begins + size) * 10 - 1), num_rows=3)
    spans = []
    for row in range(3):
        covered = sorted({word for r, begin in units if r == row for word in range(begin, begin + size)})
        assert found.covered[row] == len(covered)
        for word in covered:
            if spans and spans[-1][0] == row and spans[-1][2] == word:
                spans[-1][2] = word + 1
            else:
                spans.append([row, word, word + 1])
    got = list(zip(found.rows.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True))
    assert got == [(row, first * 10, last * 10 - 1) for row, first, last in spans]


def test_nothing_has_no_repeats() -> None:
    nothing, none = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    assert flags_of(none, nothing, nothing, more=none).tolist() == []
    assert joined(nothing, (nothing, nothing), (nothing, nothing), num_rows=2).covered.tolist() == [0, 0]
