"""A Bloom filter whose size follows from how many entries it takes and how often it may be wrong.

Of n entries and a false-positive rate p it has n ln(1/p) / ln(2)^2 bits and log2(1/p) hashes an entry; what was put in
is always found, and what was not is found with chance p. The i-th hash is that of a + i b, of an entry's two halves of
64 bits; if these were not hashed again, they would not be independent in a small filter.
Cost: 4.8 bits an entry for each factor of 10 in p.
Sources: Bloom 1970; Kirsch and Mitzenmacher 2006, Less Hashing, Same Performance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.bits import mixed
from dolma_pipeline.errors import UsageError

Keys = NDArray[np.uint64]


def bloom_bytes(num_entries: int, false_positive_rate: float) -> int:
    """Bytes of a filter, a multiple of 8.

    Args:
        num_entries: distinct ones, at most. false_positive_rate: above 0, below 1.
    """
    bits = math.ceil(max(1, num_entries) * -math.log(false_positive_rate) / math.log(2) ** 2)
    return -(-bits // 64) * 8


def num_hashes(false_positive_rate: float) -> int:
    """Hashes an entry that serve such a filter best."""
    return max(1, round(-math.log2(false_positive_rate)))


def check_size(needed: int, max_bytes: int, what: str) -> None:
    """UsageError if a filter needs more bytes than it may take; what: of what it is."""
    if needed > max_bytes:
        raise UsageError(
            f"a Bloom filter {what} needs {needed:,} bytes, and {max_bytes:,} are allowed (max_bytes, or max_memory). "
            "Allow so many, or a larger false_positive_rate."
        )


@dataclass(frozen=True)
class Bloom:
    """A filter. bits: uint64[n]. hashes: an entry."""

    bits: Keys
    hashes: int

    @classmethod
    def empty(cls, num_entries: int, false_positive_rate: float, *, max_bytes: int | None = None) -> Bloom:
        """A filter with nothing in it, of the size that it needs.

        Args:
            num_entries, false_positive_rate: as of `bloom_bytes`. max_bytes: most that it may take; None: any.

        Raises:
            UsageError: it needs more.
        """
        needed = bloom_bytes(num_entries, false_positive_rate)
        if max_bytes is not None:
            check_size(needed, max_bytes, f"of {num_entries:,} entries with a rate of {false_positive_rate:g}")
        return cls(np.zeros(needed // 8, np.uint64), num_hashes(false_positive_rate))

    def add(self, hi: Keys, lo: Keys) -> None:
        """Put entries in: two halves of their hashes, uint64[k] each."""
        for i in range(self.hashes):
            words, masks = self._place(hi, lo, i)
            np.bitwise_or.at(self.bits, words, masks)

    def contains(self, hi: Keys, lo: Keys) -> NDArray[np.bool_]:
        """Which of k entries were put in, but for false positives: bool[k]."""
        found = np.arange(len(hi))
        for i in range(self.hashes):
            words, masks = self._place(hi[found], lo[found], i)
            found = found[self.bits[words] & masks != 0]
            if len(found) == 0:
                break
        contained = np.zeros(len(hi), np.bool_)
        contained[found] = True
        return contained

    def _place(self, hi: Keys, lo: Keys, i: int) -> tuple[NDArray[np.int64], Keys]:
        """The word of the i-th bit of each entry, and the bit in it."""
        bit = mixed(hi + np.uint64(i) * (lo | np.uint64(1))) % np.uint64(64 * len(self.bits))
        return (bit >> np.uint64(6)).astype(np.int64), np.uint64(1) << (bit & np.uint64(63))


@dataclass(frozen=True)
class ExactSet:
    """All entries themselves, sorted and distinct: hi, lo uint64[n]. Nothing is found that was not put in."""

    hi: Keys
    lo: Keys

    @classmethod
    def of(cls, hi: Keys, lo: Keys) -> ExactSet:
        """The set of these entries, of which some may be there twice."""
        order = np.lexsort((lo, hi))
        hi, lo = hi[order], lo[order]
        distinct = np.ones(len(hi), np.bool_)
        distinct[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
        return cls(hi[distinct], lo[distinct])

    @cached_property
    def _near(self) -> tuple[np.uint64, NDArray[np.bool_]]:
        """How far an upper half is shifted, and which of the values that are left some entry has: most have none."""
        bits = min(30, (8 * len(self.hi)).bit_length())
        near = np.zeros(1 << bits, np.bool_)
        near[self.hi >> np.uint64(64 - bits)] = True
        return np.uint64(64 - bits), near

    def contains(self, hi: Keys, lo: Keys) -> NDArray[np.bool_]:
        """Which of k entries are in it: bool[k]."""
        contained = np.zeros(len(hi), np.bool_)
        if len(self.hi) == 0:
            return contained
        shift, near = self._near
        left = np.flatnonzero(near[hi >> shift])
        at = np.searchsorted(self.hi, hi[left])
        while len(left):  # of equal upper halves, which are rare, each is looked at
            place = np.minimum(at, len(self.hi) - 1)
            same = self.hi[place] == hi[left]
            hit = same & (self.lo[place] == lo[left])
            contained[left[hit]] = True
            more = same & ~hit & (at + 1 < len(self.hi))
            left, at = left[more], at[more] + 1
        return contained
