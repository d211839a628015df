"""The table of the n-grams of given texts ("views"), in which `ngrams` looks those of other texts up.

A bit table of 12 to 24 bits an n-gram, a table of 64-bit keys by open addressing, and of each n-gram its places in the
views. A view shorter than n words is there by its first `PREFIX` words.

Cost: a table has 72 bytes an n-gram and is made in 2 s for 2.9 M of them (one of two shared cores).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.folded import fold_words
from dolma_pipeline.kernels.hashing import mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.minhash import ROLL_FACTOR, fold_table, most_words
from dolma_pipeline.kernels.tables import TextBuffers, read_only

PREFIX = 5
"""Words by which a view that is shorter than an n-gram is found; a shorter one is not looked for."""
MOST_VIEWS = 1000
"""An n-gram of more views than these is a stock phrase, which tells nothing of any of them: it is not looked for."""

EMPTY = -1
"""The number of a free slot."""


class Words(NamedTuple):
    """The hashes of the folded words of n texts: those of text i are `hashes[rows[i]:rows[i + 1]]`.

    rows: int64[n + 1]. hashes: uint64[k].
    """

    rows: NDArray[np.int64]
    hashes: NDArray[np.uint64]


class Lookup(NamedTuple):
    """Keys and their numbers. bits: uint64[2^b / 64]; keys: uint64[2^s], at most half full; numbers: int32[2^s]."""

    bits: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    numbers: NDArray[np.int32]


class Table(NamedTuple):
    """Views to look for.

    grams: n-gram -> its number; its places are `places[starts[i]:starts[i + 1]]`, ascending. A place is a word of a
    view, one number between two views left out; view_of: of each place. wholes: first words of short views -> a
    number; the views are `short[short_starts[i]:short_starts[i + 1]]`. rows, words: the hashes of each view's words.
    item_of: of each view. coverable: its words that stand in n-grams that are looked for, int64[views].
    """

    grams: Lookup
    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    view_of: NDArray[np.int32]
    wholes: Lookup
    short_starts: NDArray[np.int64]
    short: NDArray[np.int64]
    rows: NDArray[np.int64]
    words: NDArray[np.uint64]
    item_of: NDArray[np.int32]
    coverable: NDArray[np.int64]


@njit(cache=True, nogil=True)
def roll_power(exponent: Any) -> Any:
    """ROLL_FACTOR ** exponent."""
    factor = np.uint64(1)
    for _ in range(exponent):
        factor *= ROLL_FACTOR
    return factor


@njit(cache=True, nogil=True)
def bit_shift(lookup_bits: Any) -> Any:
    """How far a key is shifted to be the number of its bit."""
    shift, size = np.uint64(64), lookup_bits.size * 64
    while size > 1:
        size >>= 1
        shift -= np.uint64(1)
    return shift


@njit(cache=True, nogil=True)
def _ngram_keys(rows: Any, hashes: Any, size: Any, keys: Any, places: Any, views: Any) -> Any:
    """Writes the keys of all n-grams of all views, with their places and views; gives how many."""
    oldest = roll_power(size - 1)
    count = 0
    for view in range(rows.size - 1):
        rolled = np.uint64(0)
        for i in range(rows[view], rows[view + 1]):
            rolled = rolled * ROLL_FACTOR + hashes[i]
            first = i - size + 1
            if first < rows[view]:
                continue
            keys[count], places[count], views[count] = mix(rolled), first + view, view
            count += 1
            rolled -= hashes[first] * oldest
    return count


@njit(cache=True, nogil=True)
def _insert(distinct: Any, bits: Any, keys: Any, numbers: Any) -> None:
    shift, mask = bit_shift(bits), np.uint64(keys.size - 1)
    for number in range(distinct.size):
        key = distinct[number]
        bit = key >> shift
        bits[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        slot = key & mask
        while numbers[slot] != EMPTY:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], numbers[slot] = key, number


@njit(cache=True, nogil=True)
def grown(array: Any, size: Any) -> Any:
    """The same values in an array at least so long."""
    if size <= array.size:
        return array
    longer = np.empty(max(2 * array.size, size), array.dtype)
    longer[: array.size] = array
    return longer


def _lookup(distinct: NDArray[np.uint64]) -> Lookup:
    """The lookup of these keys, each with its place in the array as its number."""
    num_bits = max(64, 1 << (12 * len(distinct)).bit_length())
    slots = 1 << (2 * len(distinct)).bit_length()
    bits, keys = np.zeros(num_bits // 64, np.uint64), np.zeros(slots, np.uint64)
    numbers = np.full(slots, EMPTY, np.int32)
    _insert(read_only(distinct), bits, keys, numbers)
    return Lookup(read_only(bits), read_only(keys), read_only(numbers))


def _grouped(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys; an order that brings equal keys together, each group in its old order; where each group begins."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(keys)), np.bool_), ordered[1:] != ordered[:-1]]))
    return ordered[begins], order, np.append(begins, len(keys)).astype(np.int64)


@njit(cache=True, nogil=True)
def _hashes(offsets: Any, data: Any, fold: Any, several: Any, rows: Any) -> Any:
    most = most_words(offsets)
    hashes, firsts, lasts = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32)
    out = np.empty(most, np.uint64)
    for row in range(offsets.size - 1):
        count = fold_words(data, int(offsets[row]), int(offsets[row + 1]), fold, several, hashes, firsts, lasts)
        out = grown(out, rows[row] + count)
        out[rows[row] : rows[row] + count] = hashes[:count]
        rows[row + 1] = rows[row] + count
    return out[: rows[-1]]


def hashed_words(text: TextBuffers) -> Words:
    """The hashes of the folded words of n texts."""
    rows = np.zeros(len(text.offsets), np.int64)
    return Words(rows, _hashes(read_only(text.offsets), read_only(text.data), *fold_table(), rows))


def make_table(words: Words, item_of: NDArray[np.int32], *, ngram: int) -> Table:
    """The table of views.

    Args:
        words: of the views. item_of: the item of each view, int32[views].
        ngram: words in an n-gram, at least `PREFIX`.
    """
    rows, hashes = read_only(words.rows), read_only(words.hashes)
    lengths = np.diff(rows)
    most = int(np.maximum(lengths - ngram + 1, 0).sum())
    keys, places, views = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int32)
    _ngram_keys(rows, hashes, ngram, keys, places, views)
    distinct, order, begins = _grouped(keys)
    places, views = places[order], views[order]
    differs = np.ones(most, np.bool_)  # the first of its view in its group
    differs[1:] = views[1:] != views[:-1]
    differs[begins[:-1]] = True
    kept = np.add.reduceat(differs, begins[:-1], dtype=np.int64) <= MOST_VIEWS if most else np.zeros(0, np.bool_)
    of_kept = np.repeat(kept, np.diff(begins))
    view_of = np.zeros(int(rows[-1]) + len(lengths), np.int32)
    view_of[np.arange(len(hashes)) + np.repeat(np.arange(len(lengths)), lengths)] = np.repeat(
        np.arange(len(lengths), dtype=np.int32), lengths
    )
    looked_for = np.zeros(len(view_of) + 1, np.int64)  # how many n-grams begin here, then how many words are under any
    np.add.at(looked_for, places[of_kept], 1)
    ends = np.zeros(len(view_of) + 1, np.int64)
    np.add.at(ends, places[of_kept] + ngram, 1)
    under = np.cumsum(looked_for - ends)[:-1] > 0
    short = np.flatnonzero((lengths >= PREFIX) & (lengths < ngram))
    first_keys = np.empty(len(short), np.uint64)
    prefix_rows = np.arange(len(short) + 1) * PREFIX
    prefixes = hashes[(rows[:-1][short, None] + np.arange(PREFIX)).reshape(-1)]
    _ngram_keys(read_only(prefix_rows), read_only(prefixes), PREFIX, first_keys, np.empty(len(short), np.int64),
                np.empty(len(short), np.int32))  # fmt: skip
    first_words, short_order, short_begins = _grouped(first_keys)
    return Table(
        _lookup(distinct[kept]),
        read_only(np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(begins)[kept])])),
        read_only(places[of_kept]),
        read_only(view_of),
        _lookup(first_words),
        read_only(short_begins),
        read_only(short[short_order]),
        rows,
        hashes,
        read_only(np.asarray(item_of, np.int32)),
        read_only(np.bincount(view_of[under.nonzero()[0]], minlength=len(lengths)).astype(np.int64)),
    )
