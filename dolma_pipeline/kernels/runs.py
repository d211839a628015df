"""Runs of words that may occur elsewhere: anchors, which are few, and the runs around some of them.

Two texts that share a run of n folded words share an anchor in it (winnowing): each run of w = n // 2 words has a hash,
and of every n - w + 1 of these in a row, which is what n words hold, the smallest is an anchor, the last one where
several are. The choice depends on the n words alone. So a run of n words that occurs twice holds an anchor whose hash
occurs twice, and only runs around such anchors need to be looked at.
Hashes are polynomials over the words' hashes, rolled from word to word, and mixed.
Cost: anchors ~400 MB of text a CPU-second; runs ~300 MB of the texts that have some, beside the runs.
Sources: Schleimer, Wilkerson and Aiken 2003, Winnowing (the choice, the last on ties); Karp and Rabin 1987 (rolling).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.folded import fold_words
from dolma_pipeline.kernels.hashing import mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import all_ascii
from dolma_pipeline.kernels.minhash import ROLL_FACTOR, fold_table, most_words
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import count_code_points

KEY_SEED = np.uint64(0x9FB21C651E98DF25)
"""Smallest hashes are chosen, so an anchor's key is mixed once more: keys lie evenly over all 64 bits."""


class Anchors(NamedTuple):
    """The anchors of n texts, in order. rows, words (int32): text, and first word in it. keys (uint64): of the hash.
    num_words (int32[n]): folded words of each text."""

    rows: NDArray[np.int32]
    words: NDArray[np.int32]
    keys: NDArray[np.uint64]
    num_words: NDArray[np.int32]


class Runs(NamedTuple):
    """Runs of words of n texts, in order. rows, words (int32): text, and first word in it. starts, ends (int32): code
    points of the text. keys (uint64): of the words."""

    rows: NDArray[np.int32]
    words: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    keys: NDArray[np.uint64]


@njit(cache=True, nogil=True)
def _roll(hashes: NDArray[np.uint64], count: int, size: int, rolled: NDArray[np.uint64]) -> int:
    """Writes the mixed polynomial of each `size` words in a row; gives their number."""
    leaving = np.uint64(1)
    for _ in range(size):
        leaving *= ROLL_FACTOR
    value = np.uint64(0)
    for i in range(count):
        value = value * ROLL_FACTOR + hashes[i]
        if i >= size:
            value -= hashes[i - size] * leaving
        if i >= size - 1:
            rolled[i - size + 1] = mix(value)
    return max(0, count - size + 1)


@njit(cache=True, nogil=True)
def _choose(
    values: NDArray[np.uint64], count: int, span: int, words: NDArray[np.int32], keys: NDArray[np.uint64]
) -> int:
    """Writes the places of the smallest of every `span` values in a row, the last of equal ones, each once."""
    found, best, last = 0, -1, -1
    for i in range(count):
        if best < 0 or values[i] <= values[best]:
            best = i
        elif best <= i - span:
            best = i - span + 1
            for j in range(best + 1, i + 1):
                if values[j] <= values[best]:
                    best = j
        if i >= span - 1 and best != last:
            words[found] = best
            keys[found] = mix(values[best] + KEY_SEED)
            found += 1
            last = best
    return found


@njit(cache=True, nogil=True)
def _anchors(
    offsets: NDArray[np.int32],
    data: NDArray[np.uint8],
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    size: int,
    rows: NDArray[np.int32],
    words: NDArray[np.int32],
    keys: NDArray[np.uint64],
    num_words: NDArray[np.int32],
) -> int:
    most = most_words(offsets)
    hashes, rolled = np.empty(most, np.uint64), np.empty(most, np.uint64)  # what is not written takes no memory
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    half = size // 2
    total = 0
    for row in range(offsets.size - 1):
        count = fold_words(data, int(offsets[row]), int(offsets[row + 1]), fold, several, hashes, starts, ends)
        num_words[row] = count
        if count >= size:
            halves = _roll(hashes, count, half, rolled)
            found = _choose(rolled, halves, size - half + 1, words[total:], keys[total:])
            rows[total : total + found] = row
            total += found
    return total


@njit(cache=True, nogil=True)
def _runs(
    offsets: NDArray[np.int32],
    data: NDArray[np.uint8],
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    size: int,
    anchor_rows: NDArray[np.int32],
    anchor_words: NDArray[np.int32],
    out: NDArray[np.int32],
    keys: NDArray[np.uint64],
) -> int:
    """Fills out (int32[4, k]: rows, words, starts, ends) and keys; gives their number."""
    most = most_words(offsets)
    hashes, rolled = np.empty(most, np.uint64), np.empty(most, np.uint64)
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    before = size - size // 2  # the first run that holds an anchor starts so many words before it
    total, at = 0, 0
    while at < anchor_rows.size:
        row = int(anchor_rows[at])
        origin = int(offsets[row])
        count = fold_words(data, origin, int(offsets[row + 1]), fold, several, hashes, starts, ends)
        num_runs = _roll(hashes, count, size, rolled)
        done = 0  # runs before it are there
        start_at, start_point, end_at, end_point = origin, 0, origin, 0
        is_ascii = all_ascii(data, origin, int(offsets[row + 1]))
        while at < anchor_rows.size and anchor_rows[at] == row:
            first, last = max(done, int(anchor_words[at]) - before), min(int(anchor_words[at]) + 1, num_runs)
            for i in range(first, last):
                if is_ascii:
                    start_point, end_point = starts[i] - origin, ends[i + size - 1] - origin
                else:
                    start_point += count_code_points(data, start_at, starts[i])
                    start_at = starts[i]
                    end_point += count_code_points(data, end_at, ends[i + size - 1])
                    end_at = ends[i + size - 1]
                out[0, total], out[1, total] = row, i
                out[2, total], out[3, total] = start_point, end_point
                keys[total] = rolled[i]
                total += 1
            done = max(done, last)
            at += 1
    return total


def anchors(text: TextBuffers, *, words: int) -> Anchors:
    """The anchors of each of n texts.

    Args:
        text: n texts. words: of a run, at least 2; a text with fewer has no anchor.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    room = int(offsets[-1] - offsets[0]) // 2 + 2 * len(offsets)
    rows, at, keys = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint64)
    num_words = np.zeros(len(offsets) - 1, np.int32)
    count = _anchors(offsets, data, *fold_table(), words, rows, at, keys, num_words)
    return Anchors(rows[:count].copy(), at[:count].copy(), keys[:count].copy(), num_words)


def runs_around(text: TextBuffers, rows: NDArray[np.int32], at: NDArray[np.int32], *, words: int) -> Runs:
    """The runs of `words` words that hold one of some anchors.

    Args:
        text: n texts. rows, at: some of their anchors, in order: text, and first word. words: as of `anchors`.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    room = min(len(rows) * (words - words // 2 + 1), int(offsets[-1] - offsets[0]) // 2 + 2 * len(offsets))
    out, keys = np.empty((4, room), np.int32), np.empty(room, np.uint64)
    given = read_only(np.asarray(rows, np.int32)), read_only(np.asarray(at, np.int32))
    count = _runs(offsets, data, *fold_table(), words, *given, out, keys)
    found_rows, found_words, starts, ends = (column[:count].copy() for column in out)
    return Runs(found_rows, found_words, starts, ends, keys[:count].copy())


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    found = anchors(ONE_TEXT, words=2)
    runs_around(ONE_TEXT, found.rows, found.words, words=2)
