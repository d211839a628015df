"""Stretches of text that occur more than once, from their hashes: which of them are repeats of an earlier one.

Units (lines, paragraphs, runs of words) with equal keys are the same. The first of them, by the place of its document
and then by its own in the document, is the original; all others are repeats. A task has a range of keys and looks at
the slices of all shards in it, so that nothing crosses a shuffle, and the outcome depends on no order.
Cost: ~20 M keys a CPU-second; memory ~80 bytes a key of the range.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.ascending import ascending

REPEAT = np.uint8(1)
"""Flag of a unit: an earlier one is the same."""
ELSEWHERE = np.uint8(2)
"""Flag of a unit: another document has the same."""


def tied(keys: NDArray[np.uint64], more: NDArray[np.uint64] | None = None) -> NDArray[np.bool_]:
    """Which of some keys (uint64[n], in any order) another one equals; more: 64 more bits of each."""
    order, _ = _groups(keys, more)
    found = np.zeros(len(keys), np.bool_)
    found[order] = True
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
    flags = np.zeros(len(keys), np.uint8)
    if len(order) == 0:
        return flags
    sizes = np.diff(starts, append=len(order))
    place, unit = places[order], units[order]
    first = np.minimum.reduceat(place, starts)
    last = np.maximum.reduceat(place, starts)
    of_first = place == np.repeat(first, sizes)
    least = np.minimum.reduceat(np.where(of_first, unit, np.iinfo(np.int64).max), starts)
    original = of_first & (unit == np.repeat(least, sizes))
    flags[order] = np.where(original, np.uint8(0), REPEAT) | np.where(np.repeat(first != last, sizes), ELSEWHERE, 0)
    return flags


def _groups(
    keys: NDArray[np.uint64], more: NDArray[np.uint64] | None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """The keys that another one equals, equal ones together, and where each group of these starts among them."""
    found, order = ascending(keys)
    order, opens = _with_equals(order, found[1:] == found[:-1])
    if more is not None:
        rest = more[order]
        if (unlike := rest[1:] != rest[:-1])[~opens[1:]].any():  # where 64 bits meet by chance
            by_rest = np.lexsort((rest, np.cumsum(opens)))
            order, rest = order[by_rest], rest[by_rest]
            unlike = rest[1:] != rest[:-1]
        order, opens = _with_equals(order, ~(opens[1:] | unlike))
    return order, np.flatnonzero(opens)


def _with_equals(
    order: NDArray[np.integer[Any]], equal: NDArray[np.bool_]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]:
    """Of n things those that equal a neighbour, and which of them open a group; equal: bool[n - 1], the one before."""
    opens, closes = np.ones(len(order), np.bool_), np.ones(len(order), np.bool_)
    opens[1:], closes[:-1] = ~equal, ~equal
    some = ~(opens & closes)
    return order[some], opens[some]


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
