"""How many bytes a text takes as one LZ4 block, made by a parser that is defined here and writes nothing.

zlib, zstd and LZ4 promise that what they write can be read, not which bytes they write: a Python that is built with
zlib-ng, or another release, gives another size for the same text. Here the parse is fixed, so the size is the same on
every machine. At each position the last one with the same hash of 4 bytes is tried; a match is 4 bytes or more, not
farther back than 65,535 bytes, and as long as it goes; behind it the search goes on, and of its own positions only
the last but one is remembered. The format's rules for a block's end are kept: the last 5 bytes are literals, and no
match begins in the last 12. So the size is that of a block which any LZ4 decoder reads.
Source: the LZ4 block format (Collet; github.com/lz4/lz4, doc/lz4_Block_format.md).
Cost: 330 to 400 MB of text a CPU-second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import load8
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only

HASH_BITS = 14
HASH_FACTOR = 2_654_435_761
"""Fibonacci hashing of 32 bits (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""
MIN_MATCH = 4
MAX_DISTANCE = 65_535
LAST_LITERALS = 5
NO_MATCH_IN_LAST = 12


def lz4_sizes(text: TextBuffers) -> NDArray[np.int64]:
    """Bytes of each document as an LZ4 block, int64[n]; 0 for an empty one."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    sizes = np.zeros(len(offsets) - 1, np.int64)
    # Positions are those of the whole buffer: what another document left in the table lies before this one's start.
    _measure(offsets, data, np.full(1 << HASH_BITS, -1, np.int32), sizes)
    return sizes


@njit(cache=True, nogil=True)
def _four(data: Any, i: Any) -> Any:
    """Bytes i to i + 3 as a little-endian uint32; the compiler makes one load of it."""
    j = np.uint64(i)
    return (
        np.uint32(data[j])
        | np.uint32(data[j + np.uint64(1)]) << np.uint32(8)
        | np.uint32(data[j + np.uint64(2)]) << np.uint32(16)
        | np.uint32(data[j + np.uint64(3)]) << np.uint32(24)
    )


@njit(cache=True, nogil=True)
def _slot(four: Any) -> Any:
    """Where in the table four bytes belong."""
    return np.uint32(np.uint32(four) * np.uint32(HASH_FACTOR)) >> np.uint32(32 - HASH_BITS)


@njit(cache=True, nogil=True)
def _match_end(data: Any, other: Any, i: Any, limit: Any) -> Any:
    """Where the bytes from i on stop to equal those from `other` on."""
    while i + 8 <= limit and load8(data, i) == load8(data, other):
        i, other = i + 8, other + 8
    while i < limit and data[i] == data[other]:
        i, other = i + 1, other + 1
    return i


@njit(cache=True, nogil=True)
def _extra(length: Any) -> Any:
    """Bytes that a length takes beside its four bits in the token."""
    return 0 if length < 15 else 1 + (length - 15) // 255


@njit(cache=True, nogil=True)
def _measure(offsets: Any, data: Any, table: Any, sizes: Any) -> None:
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if start == stop:
            continue
        size = np.int64(0)
        i = anchor = start  # literals since `anchor` are not written yet
        while i <= stop - NO_MATCH_IN_LAST - 1:
            four = _four(data, i)
            slot = _slot(four)
            other = np.int64(table[slot])
            table[slot] = i
            if other < start or i - other > MAX_DISTANCE or _four(data, other) != four:
                i += 1
                continue
            end = _match_end(data, other + MIN_MATCH, i + MIN_MATCH, stop - LAST_LITERALS)
            size += 1 + _extra(i - anchor) + (i - anchor) + 2 + _extra(end - i - MIN_MATCH)
            i = anchor = end
            if i <= stop - NO_MATCH_IN_LAST - 1:
                table[_slot(_four(data, i - 2))] = i - 2
        sizes[row] = size + 1 + _extra(stop - anchor) + (stop - anchor)


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    lz4_sizes(ONE_TEXT)
