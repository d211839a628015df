"""The Bloom filter: nothing is lost, its rate is what was asked for; the exact set against Python's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.dedup.bloom import Bloom, ExactSet, bloom_bytes, num_hashes
from dolma_pipeline.errors import UsageError


def entries(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return tuple(draw.integers(0, 2**64, count, np.uint64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize(("count", "rate"), [(1000, 0.1), (20_000, 0.01), (5000, 0.001), (1, 0.01), (50_000, 1e-4)])
def test_what_was_put_in_is_found_and_the_rest_at_the_stated_rate(count: int, rate: float) -> None:
    bloom = Bloom.empty(count, rate)
    inside = entries(count, 1)
    bloom.add(*inside)
    assert bloom.contains(*inside).all()
    tried = 400_000
    false = int(bloom.contains(*entries(tried, 2)).sum())
    assert false <= tried * rate + 5 * math.sqrt(tried * rate) + tried * rate * 0.1
    if count > 1:
        assert false >= tried * rate * 0.6 - 5 * math.sqrt(tried * rate), "a filter larger than it need be"


@pytest.mark.parametrize("lo", [0, 1])
def test_a_small_filter_keeps_its_rate_even_with_one_half(lo: int) -> None:
    """Double hashing alone would be wrong for one entry in 2,000 in a filter of 64 bits."""
    bloom = Bloom.empty(1, 1e-6)
    inside, asked = entries(1, 3)[0], entries(1_000_000, 4)[0]
    bloom.add(inside, np.full(1, lo, np.uint64))
    assert len(bloom.bits) == 1
    assert int(bloom.contains(asked, np.full(len(asked), lo, np.uint64)).sum()) <= 10


def test_its_size_is_worked_out() -> None:
    assert bloom_bytes(1_000_000, 0.01) == 1_198_136
    assert (num_hashes(0.01), num_hashes(0.001), num_hashes(0.9)) == (7, 10, 1)


def test_a_filter_too_small_says_what_it_needs() -> None:
    words = r"1,000,000 entries with a rate of 0.01 needs 1,198,136 bytes, and 1,000,000 are allowed \(max_bytes, or "
    with pytest.raises(UsageError, match=words):
        Bloom.empty(1_000_000, 0.01, max_bytes=1_000_000)
    Bloom.empty(1_000_000, 0.01, max_bytes=1_198_136)


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)))


@given(PAIRS, PAIRS)
def test_the_exact_set_is_a_set(inside: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    columns = [np.array(pairs, np.uint64).reshape(-1, 2) for pairs in (inside, asked)]
    found = ExactSet.of(columns[0][:, 0], columns[0][:, 1])
    assert list(zip(found.hi.tolist(), found.lo.tolist(), strict=True)) == sorted(set(inside))
    assert found.contains(columns[1][:, 0], columns[1][:, 1]).tolist() == [pair in inside for pair in asked]
