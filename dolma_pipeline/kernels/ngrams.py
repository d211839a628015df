"""Where the n-grams of given texts ("views") stand in other texts: folded words, a rolling hash, a table, a join.

A text's words are hashed (`folded`), the n-gram at each word is a polynomial of n hashes, rolled from word to word. A
bit table says of nearly all that they are of no view; what is left is looked up by its key (`ngram_table`). An n-gram
that is found is joined to its places in the views. A view shorter than n words is found by its first `PREFIX` words,
and then compared word by word.

Cost: 150 MB of text a CPU-second with 2,000 items, 105 to 115 with 100,000 (2.9 M n-grams; waits for memory); the join
costs only where something is found (one of two shared cores, on which signing the same text does 310 MB a second).
Source: Karp and Rabin 1987 (rolling hash); the bit table is a Bloom filter of one hash (Bloom 1970).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.folded import fold_words
from dolma_pipeline.kernels.hashing import mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.minhash import ROLL_FACTOR, fold_table, most_words
from dolma_pipeline.kernels.ngram_table import (
    EMPTY,
    PREFIX,
    Table,
    bit_shift,
    grown,
    hashed_words,
    make_table,
    roll_power,
)
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only

MOST_PLACES = 8
"""Of an n-gram that is repeated in one view, so many places count for runs."""


class Matches(NamedTuple):
    """What was found, sorted by row and item: k matches, one for each text and item of which something stands in it.

    rows, items: int64[k]. coverage: float64[k], the greatest share of a view's words under n-grams that were found.
    runs: int64[k], words of the longest stretch that the text and a view have in common; 0 if no n-gram was found.
    ngrams: int64[k], the most n-grams of a view. wholes: int64[k], words of the longest short view that was found; 0
    if none. Where they stand: `starts[bounds[i]:bounds[i + 1]]` to `ends[...]`, bytes in the texts' buffer, united.
    """

    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    coverage: NDArray[np.float64]
    runs: NDArray[np.int64]
    ngrams: NDArray[np.int64]
    wholes: NDArray[np.int64]
    bounds: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@njit(cache=True, nogil=True)
def _room(rows: Any, count: Any) -> Any:
    """The same rows in an array that has room for one behind the first `count`."""
    if count < rows.shape[0]:
        return rows
    longer = np.empty((2 * count, rows.shape[1]), rows.dtype)
    longer[:count] = rows
    return longer


@njit(cache=True, nogil=True)
def _hits(hashes: Any, count: Any, size: Any, lookup: Any, at: Any, numbers: Any) -> Any:
    """Writes words of a text at which some key begins, with the key's number: (how many, at, numbers), maybe grown."""
    oldest, shift, mask = roll_power(size - 1), bit_shift(lookup.bits), np.uint64(lookup.keys.size - 1)
    rolled = np.uint64(0)
    found = 0
    for i in range(count):
        rolled = rolled * ROLL_FACTOR + hashes[i]
        first = i - size + 1
        if first < 0:
            continue
        key = mix(rolled)
        rolled -= hashes[first] * oldest
        bit = key >> shift
        if (lookup.bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1) == 0:
            continue
        slot = key & mask
        while lookup.numbers[slot] != EMPTY and lookup.keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        number = lookup.numbers[slot]
        if number == EMPTY:
            continue
        at, numbers = grown(at, found + 1), grown(numbers, found + 1)
        at[found], numbers[found] = first, number
        found += 1
    return found, at, numbers


@njit(cache=True, nogil=True)
def _whole_views(hashes: Any, count: Any, table: Any, at: Any, numbers: Any, found: Any) -> Any:
    """From first words of short views to the views that stand there whole: (how many, at, views)."""
    whole_at, whole_views, num_whole = np.empty(16, np.int64), np.empty(16, np.int64), 0
    for k in range(found):
        for s in range(table.short_starts[numbers[k]], table.short_starts[numbers[k] + 1]):
            view = table.short[s]
            first, length = table.rows[view], table.rows[view + 1] - table.rows[view]
            if at[k] + length > count:
                continue
            same = True
            for i in range(length):
                if hashes[at[k] + i] != table.words[first + i]:
                    same = False
                    break
            if same:
                whole_at, whole_views = grown(whole_at, num_whole + 1), grown(whole_views, num_whole + 1)
                whole_at[num_whole], whole_views[num_whole] = at[k], view
                num_whole += 1
    return num_whole, whole_at, whole_views


@njit(cache=True, nogil=True)
def _sort(values: Any, count: Any) -> None:
    """Sorts the first `count` values in place (Shell 1959, gaps by Ciura): numpy's sort takes seconds to compile."""
    gap = 701
    while gap * 9 // 4 < count:
        gap = gap * 9 // 4
    while gap > 0:
        for i in range(gap, count):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap = 0 if gap == 1 else max(1, gap * 4 // 9)


@njit(cache=True, nogil=True)
def _cover(table: Any, size: Any, numbers: Any, found: Any, seen: Any, stamp: Any, coverage: Any, ngrams: Any) -> None:
    """Raises `coverage` and `ngrams` of items by the n-grams that one text has; seen, stamp: which were met in it."""
    hit, count = np.empty(64, np.int64), 0
    for k in range(found):
        number = numbers[k]
        if seen[number] == stamp:
            continue
        seen[number] = stamp
        first, last = table.starts[number], table.starts[number + 1]
        hit = grown(hit, count + last - first)
        hit[count : count + last - first] = table.places[first:last]
        count += last - first
    _sort(hit, count)
    k = 0
    while k < count:
        view = table.view_of[hit[k]]
        covered, grams, reach = 0, 0, 0
        while k < count and table.view_of[hit[k]] == view:
            covered += hit[k] + size - max(hit[k], reach)
            reach = hit[k] + size
            grams += 1
            k += 1
        item = table.item_of[view]
        coverage[item] = max(coverage[item], covered / table.coverable[view])
        ngrams[item] = max(ngrams[item], grams)


@njit(cache=True, nogil=True)
def _search(offsets: Any, data: Any, fold: Any, several: Any, size: Any, table: Any, num_items: Any, seen: Any) -> Any:
    most = most_words(offsets)
    hashes, firsts, lasts = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32)
    at, numbers = np.empty(64, np.int64), np.empty(64, np.int32)
    short_at, short_numbers = np.empty(64, np.int64), np.empty(64, np.int32)
    # of one text, by item; only those in `touched` are not as they are here
    coverage, ngrams = np.zeros(num_items, np.float64), np.zeros(num_items, np.int64)
    runs, wholes = np.zeros(num_items, np.int64), np.zeros(num_items, np.int64)
    opened, closed = np.zeros(num_items, np.int64), np.zeros(num_items, np.int64)
    touched_at, touched = np.zeros(num_items, np.int64), np.empty(64, np.int64)
    # places of views where a run ends at the word before, and at this one, with the n-grams of the run
    before, before_length = np.empty(64, np.int64), np.empty(64, np.int64)
    now, now_length = np.empty(64, np.int64), np.empty(64, np.int64)
    # what is given back
    out, num_out, out_coverage = np.empty((64, 5), np.int64), 0, np.empty(64, np.float64)
    spans, num_spans = np.empty((64, 3), np.int64), 0
    for row in range(offsets.size - 1):
        count = fold_words(data, int(offsets[row]), int(offsets[row + 1]), fold, several, hashes, firsts, lasts)
        found, at, numbers = _hits(hashes, count, size, table.grams, at, numbers)
        num_short = 0
        if table.short.size > 0:
            num_short, short_at, short_numbers = _hits(hashes, count, PREFIX, table.wholes, short_at, short_numbers)
        if found == 0 and num_short == 0:
            continue
        num_whole, whole_at, whole_views = _whole_views(hashes, count, table, short_at, short_numbers, num_short)
        _cover(table, size, numbers, found, seen, row + 1, coverage, ngrams)
        num_touched, num_before = 0, 0
        h, w = 0, 0
        while h < found or w < num_whole:  # in the order of the text's words
            of_view, last_view, num_now = 0, -1, 0
            if w < num_whole and (h == found or whole_at[w] < at[h]):
                first, last, length = w, w + 1, 0
            else:
                first, last, length = table.starts[numbers[h]], table.starts[numbers[h] + 1], size
            a = 0
            follows = length > 0 and h > 0 and at[h - 1] == at[h] - 1
            for k in range(first, last):
                if length > 0:
                    begin, end = at[h], at[h] + size
                    place = table.places[k]
                    view = table.view_of[place]
                    of_view = of_view + 1 if view == last_view else 1
                    last_view = view
                    if of_view > MOST_PLACES:
                        continue
                    run = 1
                    if follows:
                        while a < num_before and before[a] < place - 1:
                            a += 1
                        if a < num_before and before[a] == place - 1:
                            run = before_length[a] + 1
                    now, now_length = grown(now, num_now + 1), grown(now_length, num_now + 1)
                    now[num_now], now_length[num_now] = place, run
                    num_now += 1
                    item = table.item_of[view]
                    runs[item] = max(runs[item], run + size - 1)
                else:
                    view = whole_views[k]
                    begin, end = whole_at[k], whole_at[k] + table.rows[view + 1] - table.rows[view]
                    item = table.item_of[view]
                    wholes[item] = max(wholes[item], end - begin)
                if touched_at[item] == 0:
                    touched = grown(touched, num_touched + 1)
                    touched[num_touched] = item
                    num_touched += 1
                    touched_at[item] = num_touched
                    opened[item], closed[item] = begin, end
                elif begin <= closed[item]:
                    closed[item] = max(closed[item], end)
                else:
                    spans = _room(spans, num_spans)
                    spans[num_spans, 0] = num_out + touched_at[item] - 1
                    spans[num_spans, 1], spans[num_spans, 2] = firsts[opened[item]], lasts[closed[item] - 1]
                    num_spans += 1
                    opened[item], closed[item] = begin, end
            if length > 0:
                before, now = now, before
                before_length, now_length = now_length, before_length
                num_before = num_now
                h += 1
            else:
                w += 1
        for k in range(num_touched):
            item = touched[k]
            out, out_coverage, spans = _room(out, num_out), grown(out_coverage, num_out + 1), _room(spans, num_spans)
            out[num_out, 0], out[num_out, 1], out[num_out, 2] = row, item, runs[item]
            out[num_out, 3], out[num_out, 4], out_coverage[num_out] = ngrams[item], wholes[item], coverage[item]
            spans[num_spans, 0] = num_out
            spans[num_spans, 1], spans[num_spans, 2] = firsts[opened[item]], lasts[closed[item] - 1]
            num_spans += 1
            num_out += 1
            touched_at[item] = 0
            coverage[item], ngrams[item], runs[item], wholes[item] = 0.0, 0, 0, 0
    return out[:num_out], out_coverage[:num_out], spans[:num_spans]


class Ngrams(NamedTuple):
    """All n-grams of n texts, in order. rows (int64[k]): text; words: number of the first word in it; starts, ends:
    first byte of that word, and the byte behind the last; keys (uint64[k]): hash. sizes (int64[n]): words of each."""

    rows: NDArray[np.int64]
    words: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]


@njit(cache=True, nogil=True)
def _all_ngrams(
    offsets: Any, data: Any, fold: Any, several: Any, size: Any, columns: Any, keys: Any, sizes: Any
) -> Any:  # fmt: skip
    most = most_words(offsets)
    hashes, firsts, lasts = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32)
    oldest, found = roll_power(size - 1), 0
    for row in range(offsets.size - 1):
        count = fold_words(data, int(offsets[row]), int(offsets[row + 1]), fold, several, hashes, firsts, lasts)
        sizes[row] = count
        rolled = np.uint64(0)
        for i in range(count):
            rolled = rolled * ROLL_FACTOR + hashes[i]
            first = i - size + 1
            if first < 0:
                continue
            columns, keys = _room(columns, found), grown(keys, found + 1)
            columns[found, 0], columns[found, 1] = row, first
            columns[found, 2], columns[found, 3] = firsts[first], lasts[i]
            keys[found] = mix(rolled)
            rolled -= hashes[first] * oldest
            found += 1
    return columns[:found], keys[:found]


def all_ngrams(text: TextBuffers, *, ngram: int) -> Ngrams:
    """The n-grams of each of n texts; ngram: words in one, at least 1."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    sizes = np.zeros(len(offsets) - 1, np.int64)
    room = max(1, int(offsets[-1] - offsets[0]) // 6)
    columns, keys = _all_ngrams(
        offsets, data, *fold_table(), ngram, np.empty((room, 4), np.int64), np.empty(room, np.uint64), sizes
    )
    rows, words, starts, ends = (columns[:, i] for i in range(4))
    return Ngrams(rows, words, starts, ends, keys, sizes)


def find_matches(text: TextBuffers, table: Table, *, ngram: int, num_items: int) -> Matches:
    """Every item of which something stands in one of n texts; see `Matches`.

    Args:
        text: n texts. table: of `make_table`, with the same `ngram`. num_items: above every `item_of`.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    seen = np.zeros(len(table.starts) - 1, np.int64)
    found, coverage, spans = _search(offsets, data, *fold_table(), ngram, table, num_items, seen)
    order = np.lexsort((found[:, 1], found[:, 0]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    of_match = place[spans[:, 0]]
    span_order = np.argsort(of_match, kind="stable")
    bounds = np.searchsorted(of_match[span_order], np.arange(len(order) + 1)).astype(np.int64)
    rows, items, runs, ngrams, wholes = (found[order, i] for i in range(5))
    starts, ends = (spans[span_order, i] for i in (1, 2))
    return Matches(rows, items, coverage[order], runs, ngrams, wholes, bounds, starts, ends)


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    all_ngrams(ONE_TEXT, ngram=1)
    find_matches(ONE_TEXT, make_table(hashed_words(ONE_TEXT), np.zeros(1, np.int32), ngram=PREFIX), ngram=PREFIX,
                 num_items=1)  # fmt: skip
