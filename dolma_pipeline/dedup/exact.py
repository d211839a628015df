"""Exact duplicates: documents whose texts, or whatever else is asked of them, are the same.

128 bits of XXH3 stand for a text or value; among 10^10 documents two different texts share a key with chance 10^-19.
An empty text has no key: nothing can be kept in its place, and rules that ask for length drop it anyway.
Cost: ~0.3 us a document beside XXH3's 12 GB a second. Source: Collet, xxHash specification 0.8 (XXH3).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dolma_pipeline.documents import Batch


class TextKeys(NamedTuple):
    """The 128-bit keys of n texts: upper and lower halves (uint64[n]); `signed` (bool[n]) is False if empty."""

    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    signed: NDArray[np.bool_]


def text_keys(batch: Batch) -> TextKeys:
    """The key of each document's text; a document with an empty (or null) text has none and is always kept."""
    offsets, data = batch.text.offsets.tolist(), batch.text.data.data
    digest = xxhash.xxh3_128_digest
    digests = b"".join([digest(data[a:b]) for a, b in pairwise(offsets)])
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    return TextKeys(halves[:, 0].copy(), halves[:, 1].copy(), np.diff(batch.text.offsets) > 0)


def word_keys(batch: Batch) -> TextKeys:
    """The key of each document's folded words in their order, the one that signatures have as `same`; a text without a
    word has none. Case, white space and what stands between words play no part.

    Cost: ~500 MB of text a CPU-second.
    """
    from dolma_pipeline.kernels.minhash import sign_all

    none = np.zeros(0, np.uint32)
    found = sign_all(batch.text, none, none, shingle=1)
    return TextKeys(found.same[:, 0].copy(), found.same[:, 1].copy(), found.signed)


def value_keys(values: pa.StringArray) -> TextKeys:
    """The key of each of n values; NULL and the empty text have none."""
    digest = xxhash.xxh3_128_digest
    digests = b"".join([digest(value) if value else bytes(16) for value in values.cast(pa.binary()).to_pylist()])
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    signed = pc.fill_null(pc.greater(pc.binary_length(values), 0), False).to_numpy(zero_copy_only=False)
    return TextKeys(halves[:, 0].copy(), halves[:, 1].copy(), signed)


def sorted_keys(keys: TextKeys) -> pa.Table:
    """What is kept of keys: `key` (uint64, ascending), `row` (uint32), `more` (uint64: the lower half), of those that
    have one; equal keys by row."""
    rows = np.flatnonzero(keys.signed)
    rows = rows[np.lexsort((rows, keys.lo[rows], keys.hi[rows]))]
    return pa.table({"key": keys.hi[rows], "row": rows.astype(np.uint32), "more": keys.lo[rows]})
