from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dolma_pipeline.sql import count_bits, num_words, pack, unpack


def test_a_bit_a_rule_the_first_rule_lowest() -> None:
    rows = [np.array([True, False, True]), np.array([False, False, True])]
    assert pack(rows, 3).tolist() == [[1], [0], [3]]
    sixty_five = pack([np.array([i in (63, 64)]) for i in range(65)], 1)
    assert (sixty_five.dtype, sixty_five.tolist()) == (np.dtype(np.uint64), [[1 << 63, 1]])
    assert [num_words(n) for n in (0, 1, 64, 65, 130)] == [1, 1, 1, 2, 3]


def test_no_rules_and_no_rows() -> None:
    assert pack([], 4).tolist() == [[0]] * 4
    assert unpack(pack([], 4), 0).shape == (0, 4)
    assert pack([np.zeros(0, bool)] * 3, 0).shape == (0, 1)
    assert unpack(np.zeros((0, 2), np.uint64), 70).shape == (70, 0)
    nothing = {"first": 0, "any": 0, "alone": 0, "null": 0}
    assert count_bits(np.zeros((0, 1), np.uint64), np.zeros((0, 1), np.uint64), ["a"]) == {"a": nothing}
    assert count_bits(np.zeros((5, 1), np.uint64), np.zeros((5, 1), np.uint64), []) == {}


def test_what_does_not_fit_is_an_error() -> None:
    words = np.zeros((2, 1), np.uint64)
    with pytest.raises(ValueError, match=r"^65 rules need 2 words a row, found 1$"):
        unpack(words, 65)
    with pytest.raises(ValueError, match=r"^failed is \(2, 1\) and null is \(1, 1\); they are of the same rows and"):
        count_bits(words, words[:1], ["a"])
    with pytest.raises(ValueError, match="65 rules need 2 words"):
        count_bits(words, words, [str(i) for i in range(65)])


Verdicts = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@st.composite
def verdicts(draw: st.DrawFn) -> Verdicts:
    """failed and null of some rules and rows; few distinct rows, as in real life."""
    num_rules = draw(st.sampled_from([0, 1, 7, 8, 9, 63, 64, 65, 130]))
    num_rows = draw(st.integers(0, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    failed = random.random((num_rules, num_rows)) < draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    null = failed & (random.random((num_rules, num_rows)) < 0.3)
    rows = random.integers(0, max(1, num_rows), num_rows) if draw(st.booleans()) else np.arange(num_rows)
    return failed[:, rows], null[:, rows]


@settings(max_examples=200, deadline=None)
@given(verdicts())
def test_unpacking_undoes_packing(found: Verdicts) -> None:
    for rows in found:
        bits = pack(list(rows), rows.shape[1])
        assert bits.shape == (rows.shape[1], num_words(len(rows)))
        assert np.array_equal(unpack(bits, len(rows)), rows)
        strided = np.asfortranarray(bits)
        assert np.array_equal(unpack(strided[::2], len(rows)), rows[:, ::2])


def plain_counts(failed: list[list[bool]], null: list[list[bool]], times: list[int]) -> dict[str, dict[str, int]]:
    """Row by row, as one would say it."""
    counts: dict[str, Any] = {str(i): {"first": 0, "any": 0, "alone": 0, "null": 0} for i in range(len(failed))}
    for row, often in enumerate(times):
        reasons = [i for i in range(len(failed)) if failed[i][row]]
        for i in reasons:
            counts[str(i)]["any"] += often
            counts[str(i)]["first"] += often if i == reasons[0] else 0
            counts[str(i)]["alone"] += often if len(reasons) == 1 else 0
            counts[str(i)]["null"] += often if null[i][row] else 0
    return counts


@settings(max_examples=200, deadline=None)
@given(verdicts(), st.integers(0, 2**32))
def test_counts_are_those_of_the_rows(found: Verdicts, seed: int) -> None:
    failed, null = found
    names = [str(i) for i in range(len(failed))]
    packed = [pack(list(rows), rows.shape[1]) for rows in found]
    ones = [1] * failed.shape[1]
    assert count_bits(*packed, names) == plain_counts(failed.tolist(), null.tolist(), ones)
    times = np.random.default_rng(seed).integers(0, 1000, failed.shape[1])
    assert count_bits(*packed, names, times=times) == plain_counts(failed.tolist(), null.tolist(), times.tolist())
