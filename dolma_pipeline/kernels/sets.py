"""Sets of shingles: made distinct, compared exactly, and the election of who stays by what was found.

A set is ascending uint32. One that was longer than a limit is cut to its smallest values. Of two sets of which one is
cut, only values up to the last one that both are known to hold are compared: counting all would be biased.
Cost: ~1 us a pair of sets of 300; ~20 ns an edge of the election.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import read_only

GREATEST = np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _distinct(values: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """Moves the distinct values of each ascending stretch to the front of `values`; gives their number."""
    at = 0
    for i in range(ends.size):
        for k in range(starts[i], starts[i + 1]):
            if k == starts[i] or values[k] != values[k - 1]:
                values[at] = values[k]  # never behind k
                at += 1
        ends[i] = at
    return at


def distinct(values: NDArray[np.uint32], starts: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Each stretch of values without repeats, ascending.

    Args:
        values: uint32[k]; overwritten. starts: int64[n + 1], where each stretch begins.

    Returns:
        values and starts of the n sets.
    """
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        values[first:last].sort()  # numpy's is vectorised
    ends = np.zeros(len(starts) - 1, np.int64)
    count = _distinct(values, read_only(starts), ends)
    return values[:count], np.concatenate([np.zeros(1, np.int64), ends])


@njit(cache=True, nogil=True)
def _compare(
    values: NDArray[np.uint32],
    starts: NDArray[np.int64],
    cut: NDArray[np.bool_],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    containment: bool,
    found: NDArray[np.float64],
) -> None:
    for pair in range(left.size):
        a, b = left[pair], right[pair]
        i, i_end, j, j_end = starts[a], starts[a + 1], starts[b], starts[b + 1]
        most = GREATEST
        if cut[a]:
            most = min(most, values[i_end - 1])
        if cut[b]:
            most = min(most, values[j_end - 1])
        while i_end > i and values[i_end - 1] > most:
            i_end -= 1
        while j_end > j and values[j_end - 1] > most:
            j_end -= 1
        size_a, size_b = i_end - i, j_end - j
        both = 0
        while i < i_end and j < j_end:
            x, y = values[i], values[j]
            both += x == y
            i += x <= y
            j += y <= x
        whole = size_b if containment else size_a + size_b - both
        found[pair] = both / whole if whole > 0 else 0.0


def compare(
    values: NDArray[np.uint32],
    starts: NDArray[np.int64],
    cut: NDArray[np.bool_],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    *,
    containment: bool,
) -> NDArray[np.float64]:
    """How like the sets of each pair are: float64[k], 0 to 1.

    Args:
        values, starts: n sets, as `distinct` gives them. cut: bool[n], which lack their greatest values.
        left, right: int64[k], numbers of sets.
        containment: the share of the right set that the left one has; else both have of what either has (Jaccard).
    """
    found = np.zeros(len(left), np.float64)
    _compare(
        read_only(values), read_only(starts), read_only(cut), read_only(left), read_only(right), containment, found
    )
    return found


@njit(cache=True, nogil=True)
def _elect(
    members: NDArray[np.int64],
    leaders: NDArray[np.int64],
    likeness: NDArray[np.float64],
    alive: NDArray[np.bool_],
    anchor: NDArray[np.bool_],
    keeper: NDArray[np.int64],
    credit: NDArray[np.float64],
) -> int:
    went = 0
    edge = 0
    while edge < members.size:
        member = members[edge]
        best, best_likeness = np.int64(-1), -1.0
        while edge < members.size and members[edge] == member:
            if alive[leaders[edge]] and likeness[edge] > best_likeness:
                best, best_likeness = leaders[edge], likeness[edge]
            edge += 1
        if best >= 0 and alive[member] and not anchor[member]:
            alive[member] = False
            anchor[best] = True
            keeper[member] = best
            credit[member] = best_likeness
            went += 1
    return went


def elect(
    members: NDArray[np.int64],
    leaders: NDArray[np.int64],
    likeness: NDArray[np.float64],
    *,
    alive: NDArray[np.bool_],
    anchor: NDArray[np.bool_],
    keeper: NDArray[np.int64],
    credit: NDArray[np.float64],
) -> int:
    """One pass over verified edges: a member goes if one of its leaders is there; gives how many went.

    Whom it goes for is the most alike of these leaders, of several the earliest; that one is an anchor from then on.

    Args:
        members, leaders, likeness: of each edge, sorted by member, then leader; leader < member.
        alive, anchor: bool[n], changed. keeper, credit: of those that go, int64[n] and float64[n], changed.
    """
    return int(_elect(read_only(members), read_only(leaders), read_only(likeness), alive, anchor, keeper, credit))


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    values, starts = distinct(np.ones(1, np.uint32), np.array([0, 1], np.int64))
    one = np.zeros(1, np.int64)
    found = compare(values, starts, np.zeros(1, np.bool_), one, one, containment=False)
    flags = np.ones(2, np.bool_)
    elect(one + 1, one, found, alive=flags, anchor=~flags, keeper=np.zeros(2, np.int64), credit=np.zeros(2))
