"""Near-duplicates by MinHash: signatures, the keys of their bands, and an estimate of how like two texts are.

Two texts are alike by the share of shingles that they share (Jaccard). A minimum over a random permutation is
the same for both with just that chance, so `rows` equal minima in one of `bands` bands make them candidates
with chance 1 - (1 - j^rows)^bands: 14 x 8 finds 0.92 of the pairs at 0.8 and all but 1 in 2,500 at 0.9.
What a word is, in scripts that set blanks and in those that do not, is decided in `kernels.minhash`.
Permutations and their order are those of datasketch (`affine32`), the tests' oracle bit for bit.
Cost: ~250 MB of text a CPU-second for signatures (see `kernels.minhash`), ~0.6 us a document for 14 x 8 band keys.
Sources: Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4 (bands); Li and König
2010, b-Bit Minwise Hashing (estimate from low bits).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dolma_pipeline.documents import Batch
    from dolma_pipeline.kernels.minhash import Signed
    from dolma_pipeline.kernels.tables import TextBuffers

WORDS_FORMAT = 2
"""Which words signatures are of; others are not comparable with them. 1 (not written down): each run of `\\w`; 2:
letters of scripts that set no blanks are words of their own (docs/decisions/0007-words-without-blanks.md)."""

CHANCE_EQUAL = 1 / 256
"""Share of equal low bytes between the minima of two texts that have nothing in common."""


MOST_SHINGLES = 4096
"""A larger set is cut to its smallest values; between such sets the likeness has a standard error of 0.006 or so."""


class Sets(NamedTuple):
    """Sets of n texts: set i is `values[starts[i]:starts[i + 1]]`, ascending; cut: whether it lacks its greatest."""

    values: NDArray[np.uint32]
    starts: NDArray[np.int64]
    cut: NDArray[np.bool_]


@cache
def permutations(num_perm: int, *, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Permutations x -> a * fmix32(x) + b mod 2^32, a odd: (a, b), uint32[num_perm] each, read-only.

    Drawn as datasketch 2 draws its `affine32`, so signatures are its own bit for bit; made here, since importing it
    loads scipy. numpy promises that a seeded `RandomState` gives the same numbers in all its versions.

    Args:
        num_perm: how many.
        seed: 0 to 2^32 - 1.
    """
    generator = np.random.RandomState(seed)
    a = generator.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = generator.randint(0, 1 << 32, num_perm, dtype=np.uint32)
    a.setflags(write=False)
    b.setflags(write=False)
    return a, b


def signatures(
    batch: Batch, *, shingle: int = 5, num_perm: int = 112, seed: int = 1
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """The MinHash signature of each document's text.

    Args:
        batch: n documents.
        shingle: words a shingle; a text with fewer is one shingle of them all.
        num_perm: permutations; bands times rows.
        seed: of the permutations.

    Returns:
        minima: uint32[n, num_perm].
        signed: bool[n]; False for a text without a word, which has no signature and no duplicates (its minima
            are all 2^32 - 1 and must stay out of the bands).

    Raises:
        UsageError: a shingle or number of permutations below 1.
    """
    found = signed_texts(batch, shingle=shingle, num_perm=num_perm, seed=seed)
    return found.minima, found.signed


def signed_texts(batch: Batch, *, shingle: int = 5, num_perm: int = 112, seed: int = 1) -> Signed:
    """As `signatures`, with a 128-bit hash of each text's folded words and the number of its shingles."""
    from dolma_pipeline.kernels.minhash import sign_all

    if shingle < 1 or num_perm < 1:
        raise UsageError(f"minhash needs at least 1 word a shingle and 1 permutation, got {shingle} and {num_perm}.")
    a, b = permutations(num_perm, seed=seed)
    return sign_all(batch.text, a, b, shingle=shingle)


def shingle_sets(text: TextBuffers, *, shingle: int = 5) -> Sets:
    """The distinct 32-bit shingles of each of n texts; of more than `MOST_SHINGLES` the smallest.

    Args:
        text: n texts. shingle: words a shingle; a text with fewer is one shingle of them all, one without any has none.
    """
    from dolma_pipeline.kernels.minhash import shingles
    from dolma_pipeline.kernels.sets import distinct

    starts, values = shingles(text, shingle=shingle)
    values, starts = distinct(values, starts)
    sizes = np.diff(starts)
    if (sizes <= MOST_SHINGLES).all():
        return Sets(values, starts, np.zeros(len(sizes), np.bool_))
    kept = np.minimum(sizes, MOST_SHINGLES)
    new = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    at = np.arange(new[-1]) + np.repeat(starts[:-1] - new[:-1], kept)
    return Sets(values[at], new, sizes > MOST_SHINGLES)


def band_keys(minima: NDArray[np.uint32], *, bands: int, rows: int) -> NDArray[np.uint64]:
    """A key for each band of each signature; equal keys make candidates.

    The band's number is part of its key, so keys of different bands never meet by having equal minima.

    Args:
        minima: uint32[n, bands * rows].
        bands: keys a signature.
        rows: minima a key.

    Returns:
        uint64[n, bands].

    Raises:
        UsageError: bands times rows is not the number of minima.
    """
    from dolma_pipeline.kernels.minhash import hash_bands

    if bands < 1 or rows < 1 or bands * rows != minima.shape[1]:
        raise UsageError(
            f"{bands} bands of {rows} rows need {bands * rows} permutations, but the signatures have {minima.shape[1]}."
        )
    return hash_bands(minima, bands=bands, rows=rows)


def low_bytes(minima: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The low byte of each minimum, all that `estimate_jaccard` needs: uint32[n, p] -> uint8[n, p]."""
    return minima.astype(np.uint8)  # a cast keeps the low bits


def estimate_jaccard(low_a: NDArray[np.uint8], low_b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The estimated Jaccard similarity of k pairs of texts, each side uint8[k, p] of `low_bytes`: float64[k].

    The share of equal bytes, less those that are equal by chance, 0 to 1 (Li and König 2010, theorem 1 for sets
    that are small beside the universe). Standard error ~sqrt(j (1 - j) / p): 0.04 at 0.8 with 112.
    """
    equal = (low_a == low_b).mean(axis=1)
    estimate: NDArray[np.float64] = np.clip((equal - CHANCE_EQUAL) / (1 - CHANCE_EQUAL), 0.0, 1.0)
    return estimate
