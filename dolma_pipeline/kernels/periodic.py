"""Periodic runs of a sequence: stretches that repeat a unit of up to P items, found in linear time.

A run of period p is a longest stretch in which every item equals the one p before it; its unit is the first p items.
Only primitive units count (`abab` is a unit `ab` twice, not a unit of its own), so a stretch is reported once. A run
of at least R units holds (R - 1) p equal pairs in a row, so only every (R - 1) p-th pair is looked at, and a run is
walked once, from where it was met: about n H(P) / (R - 1) looks for n items (H: harmonic number).
Source: the rule is that of OLMo's training (OLMo 2: OLMo et al. 2024, "2 OLMo 2 Furious", section on skipped n-grams:
32 repetitions or more of 1 to 13 tokens); the search is our own.
Cost: ~1 GB of text a second for units of up to 64 bytes, 8 times or more; ~6 ns a word for 13 words, 3 times or more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import SPACE, class_table, decode


class PeriodicRuns(NamedTuple):
    """Runs, k of them, ordered by document, start and period.

    `rows` (int64) is the document; `starts`, `ends` (int64) are bytes in `text.data`, on character boundaries;
    `repeats` (int64) is how many whole units a run holds.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    repeats: NDArray[np.int64]


def character_runs(text: TextBuffers, *, max_bytes: int, min_repeats: int) -> PeriodicRuns:
    """Runs of characters; those whose unit is white space alone (indentation) are left out.

    Args:
        text: n documents.
        max_bytes: bytes of the longest unit in UTF-8, at least 1.
        min_repeats: whole units of the shortest run, at least 2.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    rows, starts, ends, periods = _periodic(offsets, data, max_bytes, min_repeats)
    kept = np.ones(len(rows), np.bool_)
    _trim(offsets, data, class_table(), rows, starts, ends, periods, min_repeats, kept)
    return _ordered(rows[kept], starts[kept], ends[kept], periods[kept], (ends - starts)[kept] // periods[kept])


def word_runs(words: Tokens, *, max_words: int, min_repeats: int) -> PeriodicRuns:
    """Runs of words, whatever white space stands between them; words are equal if their hashes are.

    Args:
        words: of n documents.
        max_words: words of the longest unit, at least 1.
        min_repeats: whole units of the shortest run, at least 2.
    """
    rows, first, stop, periods = _periodic(words.rows, words.hashes, max_words, min_repeats)
    starts = words.starts[first].astype(np.int64)
    return _ordered(rows, starts, words.ends[stop - 1].astype(np.int64), periods, (stop - first) // periods)


def _ordered(rows: Any, starts: Any, ends: Any, periods: Any, repeats: Any) -> PeriodicRuns:
    order = np.lexsort((periods, starts, rows))
    return PeriodicRuns(rows[order], starts[order], ends[order], repeats[order])


@njit(cache=True, nogil=True)
def _is_primitive(items: Any, start: Any, period: Any) -> Any:
    """Whether a unit, `items[start:start + period]`, does not consist of several equal ones."""
    for size in range(1, period // 2 + 1):
        if period % size == 0:
            i = start + size
            while i < start + period and items[i] == items[i - size]:
                i += 1
            if i == start + period:
                return False
    return True


@njit(cache=True, nogil=True)
def _next_run(items: Any, at: Any, start: Any, stop: Any, period: Any, step: Any) -> Any:
    """The next run of a primitive unit whose pairs lie in `items[:stop]`; (stop, stop) if there is none.

    Args:
        items: a sequence. start, stop: of a document in it. period: items of a unit.
        step: equal pairs that the shortest run has in a row.
        at: the second item of a pair; no run that holds none of the pairs at, at + step, … is looked for.
    """
    while at < stop:
        if items[at] != items[at - period]:
            at += step
            continue
        first, last = at, at + 1
        while first > start + period and at - first < step - 1 and items[first - 1] == items[first - 1 - period]:
            first -= 1
        limit = min(stop, first + step)
        while last < limit and items[last] == items[last - period]:
            last += 1
        if last - first < step:
            at = last + step  # the pair at `last` differs
            continue
        if not _is_primitive(items, at - period, period):
            at += step
            continue
        while first > start + period and items[first - 1] == items[first - 1 - period]:
            first -= 1  # less than a step more: the pair a step before `at` is not of this run
        while last < stop and items[last] == items[last - period]:
            last += 1
        return first - period, last
    return stop, stop


@njit(cache=True, nogil=True)
def _periodic(offsets: Any, items: Any, max_period: Any, min_repeats: Any) -> Any:
    """Rows, starts, ends (positions in `items`) and periods of the runs of primitive units, int64[k] each."""
    out = np.empty((4, 64), np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        for period in range(1, min(max_period, (stop - start) // min_repeats) + 1):
            step = period * (min_repeats - 1)  # as many equal pairs in a row as the shortest run has
            last = start + period - 1
            while last < stop:
                first, last = _next_run(items, last + step, start, stop, period, step)
                if first == last:
                    break
                if count == out.shape[1]:
                    more = np.empty((4, 2 * count), np.int64)
                    more[:, :count] = out
                    out = more
                out[0, count], out[1, count], out[2, count], out[3, count] = row, first, last, period
                count += 1
    return out[0, :count].copy(), out[1, :count].copy(), out[2, :count].copy(), out[3, :count].copy()


@njit(cache=True, nogil=True)
def _trim(
    offsets: Any, data: Any, classes: Any, rows: Any, starts: Any, ends: Any, periods: Any, min_repeats: Any, kept: Any
) -> None:  # fmt: skip
    """Cuts runs of bytes down to whole characters; drops what is then too short, and units of white space."""
    for k in range(len(rows)):
        start, end = starts[k], ends[k]
        while start < end and data[start] & 0xC0 == 0x80:
            start += 1
        if end < offsets[rows[k] + 1] and data[end] & 0xC0 == 0x80:
            end -= 1
            while end > start and data[end] & 0xC0 == 0x80:
                end -= 1
        starts[k], ends[k] = start, end
        if end - start < periods[k] * min_repeats:
            kept[k] = False
            continue
        i = start
        while i < start + periods[k]:
            point, size = decode(data, i)
            if not classes[point] & SPACE:
                break
            i += size
        kept[k] = i < start + periods[k]


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    character_runs(ONE_TEXT, max_bytes=1, min_repeats=2)
    word_runs(ONE_TOKEN, max_words=1, min_repeats=2)
