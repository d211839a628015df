"""Where any of a few ASCII phrases stands in texts, in any case of its letters.

A byte and the one after it are looked up in a table; where some phrase begins with them, the phrases are compared. So
regular expressions, which are slow, need to look at few places only. Cost: ~700 MB of text a CPU-second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only


class Found(NamedTuple):
    """Places, in order: document (int64[k]), first byte in `text.data` (int64[k]), which phrase (int64[k])."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    phrases: NDArray[np.int64]


def find_phrases(text: TextBuffers, phrases: Sequence[bytes], *, ends: NDArray[np.int64] | None = None) -> Found:
    """All places of all phrases; those that begin at one byte in the order of `phrases`.

    Args:
        text: n documents.
        phrases: ASCII in lower case, two bytes or more each.
        ends: byte in `text.data` behind what is looked at of each document, int64[n]; default all of it.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    bounds = np.cumsum([0, *map(len, phrases)])
    letters = np.frombuffer(b"".join(phrases), np.uint8)
    first = np.zeros(1 << 16, np.bool_)
    for phrase in phrases:
        for a in {phrase[:1], phrase[:1].upper()}:
            for b in {phrase[1:2], phrase[1:2].upper()}:
                first[a[0] << 8 | b[0]] = True
    stops = text.offsets[1:].astype(np.int64) if ends is None else ends
    return Found(*_find(offsets, stops, data, letters, bounds, first))


@njit(cache=True, nogil=True)
def _lower(byte: Any) -> Any:
    return byte | np.uint8(0x20) if 0x41 <= byte <= 0x5A else byte


@njit(cache=True, nogil=True)
def _next(data: Any, i: Any, last: Any, first: Any) -> Any:
    """The next byte before `last` with which, and the one behind it, some phrase may begin; else `last`."""
    while i < last and not first[np.int64(data[i]) << 8 | np.int64(data[i + 1])]:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _find(offsets: Any, stops: Any, data: Any, letters: Any, bounds: Any, first: Any) -> Any:
    out = np.empty((3, 64), np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        i, stop = np.int64(offsets[row]), stops[row]
        while i < stop - 1:
            i = _next(data, i, stop - 1, first)
            if i == stop - 1:
                break
            for which in range(len(bounds) - 1):
                size = bounds[which + 1] - bounds[which]
                k = 0
                if i + size <= stop:
                    while k < size and _lower(data[i + k]) == letters[bounds[which] + k]:
                        k += 1
                if k == size:
                    if count == out.shape[1]:
                        more = np.empty((3, 2 * count), np.int64)
                        more[:, :count] = out
                        out = more
                    out[0, count], out[1, count], out[2, count] = row, i, which
                    count += 1
            i += 1
    return out[0, :count].copy(), out[1, :count].copy(), out[2, :count].copy()


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    find_phrases(ONE_TEXT, [b"ab"])
