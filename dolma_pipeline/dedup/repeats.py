"""Stretches of text that occur more than once, from their hashes: which of them are repeats of an earlier one.

Units (lines, paragraphs, runs of words) with equal keys are the same. The first of them, by the place of its document
and then by its own in the document, is the original; all others are repeats. A task has a range of keys and looks at
the slices of all shards in it, so that nothing crosses a shuffle, and the outcome depends on no order.
Cost: ~10 M keys a CPU-second; memory ~80 bytes a key of the range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REPEAT = np.uint8(1)
"""Flag of a unit: an earlier one is the same."""
ELSEWHERE = np.uint8(2)
"""Flag of a unit: another document has the same."""


def tied(keys: NDArray[np.uint64], more: NDArray[np.uint64] | None = None) -> NDArray[np.bool_]:
    """Which of some keys (uint64[n], in any order) another one equals; more: 64 more bits of each."""
    order, starts = _groups(keys, more)
    found = np.zeros(len(keys), np.bool_)
    found[order] = np.repeat(np.diff(starts, append=len(order)) > 1, np.diff(starts, append=len(order)))
    return found


def flags_of(
    keys: NDArray[np.uint64],
    places: NDArray[np.int64],
    units: NDArray[np.int64],
    *,
    more: NDArray[np.uint64] | None = None,
) -> NDArray[np.uint8]:
    """REPEAT and ELSEWHERE of each of n units: uint8[n].

    Args:
        keys: of the units' texts. places: of their documents in the preferred order; no two documents have the same.
        units: numbers that ascend with the place in a document.
        more: 64 more bits of each key.
    """
    order, starts = _groups(keys, more)
    sizes = np.diff(starts, append=len(order))
    several = np.repeat(sizes > 1, sizes)
    order, sizes = order[several], sizes[sizes > 1]
    flags = np.zeros(len(keys), np.uint8)
    if len(order) == 0:
        return flags
    starts = np.cumsum(sizes) - sizes
    place, unit = places[order], units[order]
    first = np.minimum.reduceat(place, starts)
    last = np.maximum.reduceat(place, starts)
    of_first = place == np.repeat(first, sizes)
    least = np.minimum.reduceat(np.where(of_first, unit, np.iinfo(np.int64).max), starts)
    original = of_first & (unit == np.repeat(least, sizes))
    flags[order] = np.where(original, np.uint8(0), REPEAT) | np.where(np.repeat(first != last, sizes), ELSEWHERE, 0)
    return flags


def _groups(keys: NDArray[np.uint64], more: NDArray[np.uint64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which equal keys lie together, and where each group of equal ones starts in it."""
    order = _order(keys)
    sorted_keys = keys[order]
    opens = np.ones(len(keys), np.bool_)
    opens[1:] = sorted_keys[1:] != sorted_keys[:-1]
    if more is not None and len(keys):
        group = np.cumsum(opens) - 1
        alone = np.diff(np.flatnonzero(opens), append=len(keys)) == 1
        some = np.flatnonzero(~alone[group])
        order[some] = order[some][np.lexsort((more[order[some]], group[some]))]
        rest = more[order]
        opens[1:] |= rest[1:] != rest[:-1]
    return order, np.flatnonzero(opens)


def _order(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """An order of n keys (uint64[n]) in which equal ones lie together.

    The upper bits of each key are sorted with its number in the lower ones, several times as fast as `argsort`; keys
    that are equal in the upper bits alone are few, and sorted after that.
    """
    bits = np.uint64(len(keys).bit_length())
    packed = np.sort(keys >> bits << bits | np.arange(len(keys), dtype=np.uint64))
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    upper, found = packed >> bits, keys[order]
    unlike = (upper[1:] == upper[:-1]) & (found[1:] != found[:-1])
    if unlike.any():
        some = np.flatnonzero(np.isin(upper, upper[1:][unlike]))
        order[some] = order[some][np.lexsort((found[some], upper[some]))]
    return order


class Joined(NamedTuple):
    """Spans of the units of n documents that overlap or touch, joined. rows, starts, ends (int64[k]): document, and
    code points in it; in order. covered (int64[n]): what the units cover of each document, in its measure."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    covered: NDArray[np.int64]


def joined(
    rows: NDArray[np.int64],
    measure: tuple[NDArray[np.int64], NDArray[np.int64]],
    points: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    num_rows: int,
) -> Joined:
    """Joins units of documents to spans.

    Args:
        rows: document of each unit, ascending, int64[k]. measure: where it starts and ends, in words or in code points,
            starts and ends ascending within a document. points: the same in code points. num_rows: documents.
    """
    begins, stops = measure
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = (rows[1:] != rows[:-1]) | (begins[1:] > stops[:-1])
    firsts = np.flatnonzero(opens)
    lasts = np.append(firsts[1:], len(rows))[: len(firsts)] - 1
    covered = np.zeros(num_rows, np.int64)
    np.add.at(covered, rows[firsts], stops[lasts] - begins[firsts])
    return Joined(rows[firsts], points[0][firsts], points[1][lasts], covered)
