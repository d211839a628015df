"""Sorted hashes against Python's stable sort, of keys that no hash gives too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.kernels import sorting
from dolma_pipeline.kernels.sorting import sorted_keys, warm

SOME = st.sampled_from([0, 1, 2, 2**11, 2**22 - 1, 2**42, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1])
KEYS = st.lists(SOME | st.integers(0, 2**64 - 1), max_size=60)


def plain(keys: list[int]) -> tuple[list[int], list[int]]:
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[at] for at in order], order


def check(keys: np.ndarray) -> None:
    given_keys = keys.copy()
    found, order = sorted_keys(keys)
    assert (found.dtype, order.dtype) == (np.uint64, np.uint32)
    assert (found.tolist(), order.tolist()) == plain(keys.tolist())
    assert (keys == given_keys).all()


@settings(max_examples=300, deadline=None)
@given(KEYS, st.integers(0, 63))
def test_equals_a_stable_sort(keys: list[int], shift: int) -> None:
    check(np.array(keys, np.uint64))
    check(np.array(keys, np.uint64) >> np.uint64(shift))


def hashes(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 2**64, count, dtype=np.uint64)


@pytest.mark.parametrize(
    "keys",
    [
        hashes(20_000),
        hashes(20_000)[hashes(20_000) % np.uint64(300)],
        hashes(3_000) | np.uint64(2**63),
        hashes(3_000) & np.uint64(2**63 | 2**20 - 1),  # the upper bits say nothing
        np.arange(3_000, 0, -1, dtype=np.uint64) | (hashes(3_000) & np.uint64(2**63)),
    ],
    ids=["hashes", "many are equal", "one bit is the same", "two upper halves", "falling"],
)
def test_many_keys(keys: np.ndarray) -> None:
    check(keys)


def test_more_keys_than_two_steps_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MOST_OF_TWO_STEPS", 100)
    check(hashes(200))
    check(np.arange(200, 0, -1, dtype=np.uint64))


def test_where_upper_bits_say_nothing_all_bits_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    sort = sorting._sort
    monkeypatch.setattr(sorting, "_sort", lambda keys, bottom, steps: taken.append(steps) or sort(keys, bottom, steps))
    check(hashes(2_000))
    check(hashes(2_000) & np.uint64(2**63 | 2**20 - 1))
    assert taken == [2, 2, 6]


def test_warm_compiles_what_runs() -> None:
    warm()
    before = [len(one.signatures) for one in (sorting._step, sorting._insert)]
    check(hashes(50))
    check(hashes(50) & np.uint64(2**63 | 2**20 - 1))
    assert before == [len(one.signatures) for one in (sorting._step, sorting._insert)] == [1, 1]
