"""A model of byte n-grams from texts: interpolated Kneser-Ney smoothing with three discounts an order.

Bytes need no words, no alphabet and no tokenizer, so one model serves every script, and no text has anything unknown in
it. Of an n-gram g = h w (context h, last byte w) of length k

    p(w | h) = max(c(g) - D(c(g)), 0) / c(h) + weight(h) p(w | h without its first byte)

where c is the count in the longest n-grams, and in shorter ones the number of bytes that g is seen behind; c(h) is the
sum over w; D is one of three discounts by c; and `weight` is what discounts (and n-grams that are left out) free, so
that probabilities sum to 1. Below single bytes all 256 are equally likely. A text is read behind order - 1 newlines.

Sources: Kneser and Ney 1995, "Improved backing-off for m-gram language modeling"; Chen and Goodman 1998, "An empirical
study of smoothing techniques for language modeling", section 3 (modified Kneser-Ney, equation 26 for the discounts).
Cost: 18 s of CPU and 0.8 GB of memory for 34 MB of text at order 6; memory grows with the n-grams that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.documents import text_buffers

Number = TypeVar("Number", np.int64, np.float64)

ALWAYS = 2
"""N-grams up to this length are never left out: there are 65,792 of them at most."""
PLAIN_DISCOUNTS = (0.5, 1.0, 1.5)
"""Where too few n-grams are seen once to four times to estimate discounts from (as KenLM's `--discount_fallback`)."""
_AT_ONCE = 1 << 22
"""N-grams that are counted at once."""
_NEWLINE = 10


class Counts(NamedTuple):
    """N-grams of one length and how often they are seen: their bytes as numbers, uint64[n] ascending; int64[n]."""

    ngrams: NDArray[np.uint64]
    counts: NDArray[np.int64]


class Counter:
    """Counts the longest n-grams of texts as they come; nothing depends on their order.

    Args:
        order: bytes of an n-gram.
    """

    def __init__(self, order: int) -> None:
        self._order = order
        self._counted = Counts(np.zeros(0, np.uint64), np.zeros(0, np.int64))

    def add(self, texts: pa.StringArray) -> None:
        """Count the n-grams that end at each byte of each text."""
        offsets, data = text_buffers(texts)
        lengths, pad = np.diff(offsets).astype(np.int64), self._order - 1
        ends = np.cumsum(lengths + pad)
        padded = np.full(int(ends[-1]) if len(ends) else 0, _NEWLINE, np.uint8)
        is_text = np.ones(len(padded), np.bool_)
        for shift in range(pad):
            is_text[ends - lengths - 1 - shift] = False
        padded[is_text] = data[offsets[0] : offsets[-1]]
        for start in range(pad, len(padded), _AT_ONCE):
            end = min(start + _AT_ONCE, len(padded))
            ngrams = np.zeros(end - start, np.uint64)
            for back in range(pad, -1, -1):
                ngrams <<= np.uint64(8)
                ngrams |= padded[start - back : end - back]
            self._count(ngrams[is_text[start:end]])

    def close(self) -> Counts:
        """The counts of all that came."""
        return self._counted

    def _count(self, some: NDArray[np.uint64]) -> None:
        ngrams, counts = np.unique(some, return_counts=True)
        both = np.concatenate([self._counted.ngrams, ngrams])
        order = np.argsort(both, kind="stable")
        starts = _starts(both[order])
        counted = np.concatenate([self._counted.counts, counts])[order]
        self._counted = Counts(both[order][starts], _sums(counted, starts))


class Level(NamedTuple):
    """The n-grams of one length in a model.

    ngrams: uint64[n], ascending. probabilities: of the last byte after the others. weights: as contexts. float64[n].
    """

    ngrams: NDArray[np.uint64]
    probabilities: NDArray[np.float64]
    weights: NDArray[np.float64]


class Smoothed(NamedTuple):
    """A model: levels by length, from 1; and how often an n-gram must be seen to be in it (longer than `ALWAYS`)."""

    levels: Sequence[Level]
    min_count: int

    def arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32]]:
        """Numbers, log2 of probabilities, log2 of weights, as `kernels.byte_ngrams.ByteNgrams.of` takes them."""
        numbers = [one.ngrams | np.uint64(length << 56) for length, one in enumerate(self.levels, 1)]
        logarithms = [
            np.log2(np.concatenate([getattr(one, name) for one in self.levels])).astype(np.float32)
            for name in ("probabilities", "weights")
        ]
        return np.concatenate(numbers), logarithms[0], logarithms[1]


def smoothed(longest: Counts, order: int, *, max_ngrams: int) -> Smoothed:
    """The model of counts.

    Args:
        longest: of the n-grams of `order` bytes, one at least. max_ngrams: that the model may have, 65,792 or more;
            those seen too seldom are left out, and what they would get goes to shorter ones.
    """
    counts = [longest]
    for length in range(order - 1, 0, -1):
        mask = np.uint64((1 << (8 * length)) - 1)
        counts.insert(0, Counts(*np.unique(counts[0].ngrams & mask, return_counts=True)))
    min_count = 1
    while sum(_num_often(level, length, min_count) for length, level in enumerate(counts, 1)) > max_ngrams:
        min_count += 1
    kept = _kept(counts, min_count)
    while sum(map(len, kept)) > max_ngrams:  # with the contexts of those that are left
        min_count += 1
        kept = _kept(counts, min_count)
    levels: list[Level] = []
    for level, ngrams in zip(counts, kept, strict=True):
        _add_level(levels, level, ngrams)
    return Smoothed(levels, min_count)


def discounts(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """What is taken off n-grams seen once, twice, and more often (Chen and Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return PLAIN_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if not all(0 < one <= most for one, most in zip(found, (1, 2, 3), strict=True)):
        return PLAIN_DISCOUNTS
    return found


def _num_often(counts: Counts, length: int, min_count: int) -> int:
    return len(counts.counts) if length <= ALWAYS else int((counts.counts >= min_count).sum())


def _kept(counts: Sequence[Counts], min_count: int) -> list[NDArray[np.uint64]]:
    """The n-grams of each length that are in the model: seen often enough, or the context of one that is."""
    kept: list[NDArray[np.uint64]] = []
    contexts = np.zeros(0, np.uint64)
    for length in range(len(counts), 0, -1):
        ngrams, seen = counts[length - 1]
        often = ngrams if length <= ALWAYS else ngrams[seen >= min_count]
        found = np.union1d(often, contexts) if length > 1 else np.arange(256, dtype=np.uint64)
        kept.insert(0, found)
        contexts = np.unique(found >> np.uint64(8))
    return kept


def _add_level(levels: list[Level], counts: Counts, ngrams: NDArray[np.uint64]) -> None:
    """Add the n-grams of the next length; the weights of their contexts are known then."""
    contexts = counts.ngrams >> np.uint64(8)
    starts = _starts(contexts)
    totals, known = _sums(counts.counts, starts), contexts[starts]
    seen = _looked_up(counts.ngrams, counts.counts, ngrams)
    of = _looked_up(known, totals, ngrams >> np.uint64(8))
    taken = np.array([0.0, *discounts(counts.counts)])[np.minimum(seen, 3)]
    own = np.where(of > 0, (seen - taken) / np.maximum(of, 1), 0.0)
    groups = _starts(ngrams >> np.uint64(8))
    weights = 1.0 - _sums(own, groups)
    if levels:
        context = (ngrams >> np.uint64(8))[groups]
        levels[-1].weights[np.searchsorted(levels[-1].ngrams, context)] = weights
        lower = _probabilities(levels, ngrams & np.uint64((1 << (8 * len(levels))) - 1))
    else:
        lower = np.full(len(ngrams), 1 / 256)
    spread = np.repeat(weights, np.diff(np.append(groups, len(ngrams))))
    levels.append(Level(ngrams, own + spread * lower, np.ones(len(ngrams))))


def _probabilities(levels: Sequence[Level], ngrams: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Of n-grams as long as the last level's, in the model or not."""
    level = levels[-1]
    at, is_there = _places(level.ngrams, ngrams)
    found = np.zeros(len(ngrams))
    found[is_there] = level.probabilities[at[is_there]]
    if not is_there.all():
        rest = ngrams[~is_there]
        shorter = _probabilities(levels[:-1], rest & np.uint64((1 << (8 * (len(levels) - 1))) - 1))
        place, is_context = _places(levels[-2].ngrams, rest >> np.uint64(8))
        weights = np.ones(len(rest))
        weights[is_context] = levels[-2].weights[place[is_context]]
        found[~is_there] = weights * shorter
    return found


def _places(ngrams: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where some n-grams stand among others (ascending), and which of them do."""
    at = np.searchsorted(ngrams, wanted)
    is_there = at < len(ngrams)
    is_there[is_there] = ngrams[at[is_there]] == wanted[is_there]
    return at, is_there


def _looked_up(ngrams: NDArray[np.uint64], values: NDArray[np.int64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The values of some n-grams, 0 of those that are not among `ngrams` (ascending)."""
    at, is_there = _places(ngrams, wanted)
    found = np.zeros(len(wanted), np.int64)
    found[is_there] = values[at[is_there]]
    return found


def _starts(ascending: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1])[: len(ascending)])


def _sums(values: NDArray[Number], starts: NDArray[np.int64]) -> NDArray[Number]:
    """The sum of each run."""
    found: NDArray[Number] = np.add.reduceat(values, starts) if len(starts) else values[:0]
    return found
