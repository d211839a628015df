"""Sorts hashes: 64-bit keys in ascending order, and where each of them stood.

By their upper bits in steps of 11, which the keys of a hash nearly all differ in, then by insertion; the order is that
of a stable sort, whatever the keys. Where upper bits say too little, all bits are taken in steps of 11.
Cost: 8 to 25 ns a hash, a fifth of numpy's `argsort`; ~35 ns for other keys. Memory: 24 bytes a key.
Source: Knuth, The Art of Computer Programming 3, 5.2.5 (sorting by distribution, and insertion after it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import read_only

DIGIT = 11
"""Bits of a step: its 2,048 counters fit the fastest cache."""
_VALUES = 1 << DIGIT
_WIDTH = 64
MOST_OF_TWO_STEPS = 1 << (2 * DIGIT + 2)
"""Keys of which those that are equal in two steps are few enough for the insertion."""
MOST_MOVES = 8
"""Moves a key that the insertion may make before all bits are taken instead."""


@njit(cache=True, nogil=True)
def _step(
    shift: int,
    keys: NDArray[np.uint64],
    order: NDArray[np.uint32],
    to_keys: NDArray[np.uint64],
    to_order: NDArray[np.uint32],
) -> None:
    """Sorts keys and their order into other arrays by the digit from bit `shift` on."""
    down, mask = np.uint64(shift), np.uint64(_VALUES - 1)
    places = np.zeros(_VALUES, np.int64)
    for i in range(keys.size):
        places[(keys[i] >> down) & mask] += 1
    begin = np.int64(0)
    for digit in range(_VALUES):
        count = places[digit]
        places[digit] = begin
        begin += count
    for i in range(keys.size):
        key = keys[i]
        digit = (key >> down) & mask
        at = places[digit]
        to_keys[at], to_order[at] = key, order[i]
        places[digit] = at + 1


@njit(cache=True, nogil=True)
def _insert(found: NDArray[np.uint64], order: NDArray[np.uint32], most: int) -> bool:
    """Sorts what is nearly sorted; False where that takes more than `most` moves."""
    moves = 0
    for i in range(1, found.size):
        key, at = found[i], order[i]
        j = i
        while j > 0 and found[j - 1] > key:
            found[j], order[j] = found[j - 1], order[j - 1]
            j -= 1
        found[j], order[j] = key, at
        moves += i - j
        if moves > most:
            return False
    return True


def _sort(keys: NDArray[np.uint64], bottom: int, steps: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32], bool]:
    """By so many digits from bit `bottom` on and by insertion; and whether that was enough."""
    order = np.arange(len(keys), dtype=np.uint32)
    spare: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []
    for step in range(steps):
        to_keys, to_order = spare.pop() if spare else (np.empty_like(keys), np.empty_like(order))
        _step(bottom + step * DIGIT, read_only(keys), read_only(order), to_keys, to_order)
        if step:
            spare.append((keys, order))
        keys, order = to_keys, to_order
    return keys, order, _insert(keys, order, MOST_MOVES * len(keys))


def sorted_keys(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Keys in ascending order, uint64[n], and the number of each among those given, uint32[n]; equal keys by number.

    Args:
        keys: in any order, uint64[n]; fewer than 2^32.
    """
    differ = int(keys.min() ^ keys.max()).bit_length() if len(keys) else 0  # bits above are the same in all
    steps = 2 if len(keys) < MOST_OF_TWO_STEPS else 3
    found, order, is_done = _sort(keys, max(0, differ - steps * DIGIT), steps)
    if not is_done:
        found, order, _ = _sort(keys, 0, -(-_WIDTH // DIGIT))
    return found, order


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    sorted_keys(np.zeros(2, np.uint64))
