"""Which documents of a set are taken: each text once, those of the smallest keys, up to a cap.

A key depends on the text and the seed alone, so the same documents are taken whatever the order of files, and a set
that grows keeps most of its sample. Cost: 20 bytes of memory for a document that is taken, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from dolma_pipeline.dedup.bits import mixed

_PENDING = 65_536
"""Documents that are collected before they are put in order."""


@dataclass(frozen=True)
class Chunk:
    """Some documents of a set, without their texts.

    hashes: upper half of XXH3-128 of the text, uint64[n]. sizes: bytes of text, int64[n]. sources: of each its name.
    units: what goes to one part as a whole, of each its name.
    """

    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    sources: Sequence[str]
    units: Sequence[str]

    def take(self, rows: NDArray[np.int64]) -> Chunk:
        """Some of them."""
        sources, units = ([names[row] for row in rows.tolist()] for names in (self.sources, self.units))
        return Chunk(self.hashes[rows], self.sizes[rows], sources, units)


@dataclass(frozen=True)
class Sampled:
    """The documents that are taken of a set.

    keys: uint64[n], ascending. sizes: bytes of text. sources: of each its number in `names`, int32[n].
    """

    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    sources: NDArray[np.int32]
    names: Sequence[str]

    def without(self, keys: NDArray[np.uint64]) -> Sampled:
        """Those whose keys are not among these."""
        left = ~np.isin(self.keys, keys, assume_unique=True)
        return Sampled(self.keys[left], self.sizes[left], self.sources[left], self.names)


def sample_keys(hashes: NDArray[np.uint64], *, seed: int) -> NDArray[np.uint64]:
    """Keys of texts by their hashes: as good as random, and the same for the same text and seed."""
    salt = np.uint64(xxhash.xxh3_64_intdigest(b"fit", seed % (1 << 64)))
    return mixed(hashes ^ salt)


class Sample:
    """Takes documents of a set as they come.

    Args:
        seed: of the keys. max_documents, max_bytes: caps; None: no cap. A text that would go over one is not taken, and
            none behind it.

    Attributes:
        documents, num_bytes, empty: what was seen, and how many texts of it were empty; those are never taken.
        bound: key of the first document that a cap leaves out, None where none does.
    """

    def __init__(self, *, seed: int, max_documents: int | None = None, max_bytes: int | None = None) -> None:
        self._seed, self._max_documents, self._max_bytes = seed, max_documents, max_bytes
        self._codes: dict[str, int] = {}
        nothing = Sampled(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int32), ())
        self._taken, self._pending, self._num_pending = nothing, list[Sampled](), 0
        self.documents = self.num_bytes = self.empty = 0
        self.bound: np.uint64 | None = None

    def add(self, chunk: Chunk) -> None:
        """Look at some documents."""
        self.documents += len(chunk.hashes)
        self.num_bytes += int(chunk.sizes.sum())
        self.empty += int((chunk.sizes == 0).sum())
        keys = sample_keys(chunk.hashes, seed=self._seed)
        some = chunk.sizes > 0
        if self.bound is not None:
            some &= keys < self.bound
        rows = np.flatnonzero(some)
        codes = [self._codes.setdefault(chunk.sources[row], len(self._codes)) for row in rows.tolist()]
        self._pending.append(Sampled(keys[rows], chunk.sizes[rows], np.array(codes, np.int32), ()))
        self._num_pending += len(rows)
        if self._num_pending >= _PENDING:
            self._settle()

    def close(self) -> Sampled:
        """What is taken of all that was looked at."""
        self._settle()
        return Sampled(self._taken.keys, self._taken.sizes, self._taken.sources, tuple(self._codes))

    def _settle(self) -> None:
        """Put what has come in order: each text once, with the first of its sources by name, and cut at the caps."""
        parts = [self._taken, *self._pending]
        keys, sizes, sources = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "sizes", "sources")
        )
        places = {name: place for place, name in enumerate(sorted(self._codes))}
        by_name = np.array([places[name] for name in self._codes], np.int32)
        order = np.lexsort((by_name[sources], keys))
        order = order[np.append(True, keys[order][1:] != keys[order][:-1])[: len(order)]]
        end = len(order)
        if self._max_documents is not None:
            end = min(end, self._max_documents)
        if self._max_bytes is not None:
            end = min(end, int(np.searchsorted(np.cumsum(sizes[order]), self._max_bytes, side="right")))
        if end < len(order):  # what comes later can only be in front of it, and so it stays out
            self.bound = keys[order[end]]
        order = order[:end]
        self._taken = Sampled(keys[order], sizes[order], sources[order], ())
        self._pending, self._num_pending = [], 0
