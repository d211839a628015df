"""How like pairs of documents are, exactly: from the sets of a dedupe step, with bounded memory, without any text.

Jaccard: pairs whose low bytes say that they are far below the threshold are not compared; four standard errors of the
estimate lie between. Containment says nothing of the Jaccard, so all are compared. Where a document has no set, since
its text was gone when it came into a bucket, the estimate itself is the answer. Pairs go in pieces whose sets take
at most `SET_BYTES`; what another phase has found out already is given along (`known`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.minhash import MOST_SHINGLES, estimate_jaccard
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.sets import lacking_sets, read_sets

SET_BYTES = 256_000_000
"""Of the sets that are held for one piece of pairs."""
PAIRS = 1 << 19
"""Of which low bytes are held at once: 112 MB of them or so."""
MARGIN = 0.16
"""Estimates below the threshold by more than this are believed."""


@dataclass(frozen=True)
class Known:
    """Pairs that were compared before: left, right (documents by number), likeness; sorted by left, then right."""

    left: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    likeness: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def find(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of k pairs stands here; -1: nowhere. int64[k]."""
        if len(self.left) == 0:
            return np.full(len(left), -1)
        nodes = np.unique(np.concatenate([self.left, self.right]))
        own = np.searchsorted(nodes, self.left) * len(nodes) + np.searchsorted(nodes, self.right)
        places = [np.minimum(np.searchsorted(nodes, one), len(nodes) - 1) for one in (left, right)]
        there = (nodes[places[0]] == left) & (nodes[places[1]] == right)
        codes = places[0] * len(nodes) + places[1]
        at = np.minimum(np.searchsorted(own, codes), len(own) - 1)
        return np.where(there & (own[at] == codes), at, -1)

    def fill(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The likeness of k pairs, float64[k], NaN for those that are not here; and which these are, ascending."""
        at = self.find(left, right)
        found = np.full(len(left), np.nan)
        found[at >= 0] = self.likeness[at[at >= 0]]
        return found, np.flatnonzero(at < 0)

    def joined(self, left: NDArray[np.int64], right: NDArray[np.int64], likeness: NDArray[np.float64]) -> Known:
        """These and more pairs, in any order, none of which is here."""
        left, right = np.concatenate([self.left, left]), np.concatenate([self.right, right])
        order = np.lexsort((right, left))
        return Known(left[order], right[order], np.concatenate([self.likeness, likeness])[order])


@dataclass(frozen=True)
class Likeness:
    """Compares documents of a step; call it with leaders and members.

    Args:
        run: whose files there are. step: the dedupe step. known: what was compared before.
    """

    run: Run
    step: DedupeStepConfig
    known: Known = field(default_factory=Known)

    @cached_property
    def lacking(self) -> NDArray[np.int64]:
        """Documents that have no set, by number, ascending."""
        return lacking_sets(self.run, self.step.name)

    def by_estimate(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which of k pairs, first of their words, only signatures tell how like they are."""
        found: NDArray[np.bool_] = (left != right) & (np.isin(left, self.lacking) | np.isin(right, self.lacking))
        return found

    def __call__(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """How like the documents of k pairs are: float64[k]; NaN where the estimate is far below the threshold.

        Args:
            left, right: by number; in buckets, and the first of their words.
        """
        found, new = self.known.fill(left, right)
        new = new[np.lexsort((right[new], left[new]))]
        for first in range(0, len(new), PAIRS):
            some = new[first : first + PAIRS]
            found[some] = self._compared(left[some], right[some])
        return found

    def _compared(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        from dolma_pipeline.kernels.sets import compare

        containment = self.step.verify == "containment"
        nodes = np.unique(np.concatenate([left, right]))
        low, shingles = kind_of(self.step).estimates(self.run, self.step, rows_by_shard(indexed(self.run), nodes))
        a, b = np.searchsorted(nodes, left), np.searchsorted(nodes, right)
        wanted = np.arange(len(left))
        if not containment:
            estimates = _estimated(low, a, b)
            wanted = wanted[estimates >= self.step.threshold - MARGIN]
        sizes = 4 * np.minimum(shingles, MOST_SHINGLES).astype(np.int64)
        found = np.full(len(left), np.nan)
        if len(self.lacking):  # never with containment
            guessed = self.by_estimate(left[wanted], right[wanted])
            found[wanted[guessed]] = estimates[wanted[guessed]]
            wanted = wanted[~guessed]
        for piece in pieces(a[wanted], b[wanted], sizes):
            some = wanted[piece]
            own = np.unique(np.concatenate([left[some], right[some]]))
            sets = read_sets(self.run, self.step.name, rows_by_shard(indexed(self.run), own))
            at = np.searchsorted(own, left[some]), np.searchsorted(own, right[some])
            found[some] = compare(sets.values, sets.starts, sets.cut, *at, containment=containment)
        return found


def estimated(
    run: Run, step: DedupeStepConfig, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How like k pairs of documents are by their signatures alone: float64[k]; left, right: by number."""
    nodes = np.unique(np.concatenate([left, right]))
    low, _ = kind_of(step).estimates(run, step, rows_by_shard(indexed(run), nodes))
    return _estimated(low, np.searchsorted(nodes, left), np.searchsorted(nodes, right))


def _estimated(low: NDArray[np.uint8], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same of pairs of some low bytes, by their places there."""
    some = (estimate_jaccard(low[a[i : i + 8192]], low[b[i : i + 8192]]) for i in range(0, len(a), 8192))
    return np.concatenate([np.zeros(0), *some])


def pieces(a: NDArray[np.int64], b: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Pairs, sorted by `a`, in pieces whose sets take at most `SET_BYTES` (one pair may take more): slices of them.

    Args:
        a, b: numbers of sets. sizes: bytes of each set, or more.
    """
    bytes_ = sizes[b] + np.where(np.diff(a, prepend=-1) != 0, sizes[a], 0)
    start = 0
    while start < len(a):
        held = np.cumsum(bytes_[start:])
        held += sizes[a[start]] - (bytes_[start] - sizes[b[start]])  # a piece may begin within a leader's pairs
        end = start + max(1, int(np.searchsorted(held, SET_BYTES, side="right")))
        yield slice(start, end)
        start = end


def rows_by_shard(shards: Iterator[ShardAt], nodes: NDArray[np.int64]) -> Iterator[tuple[ShardAt, NDArray[np.int64]]]:
    """Shards that have some of these documents, with their rows there; nodes: by number, ascending."""
    for shard in shards:
        rows = nodes[np.searchsorted(nodes, shard.first) : np.searchsorted(nodes, shard.first + shard.rows)]
        if len(rows):
            yield shard, rows - shard.first
