"""Lines or paragraphs of texts with a 128-bit hash each, to be found again in other texts; saved in run directories.

Lines and paragraphs are those of `kernels.lines`, both without the white space around them, the blank ones left out.
The hash is two chains over eight bytes at a time; a change of it is a new format.
Cost: ~1 GB of text a CPU-second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, load8, load_part, mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lines import _NEWLINE, _line_end, _strip
from dolma_pipeline.kernels.minhash import ROLL_FACTOR
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import SPACE, class_table, count_code_points


class HashedUnits(NamedTuple):
    """Units of n texts, in order. rows, starts, ends (int32): text, and code points in it. hi, lo (uint64): of the
    bytes. chars (int64[n]): code points of all units of each text, the short ones too."""

    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    chars: NDArray[np.int64]


@njit(cache=True, nogil=True)
def hash_wide(data: Any, start: Any, end: Any) -> Any:
    """Two uint64 of bytes start to end - 1; equal bytes give equal ones wherever they lie."""
    hi, lo = np.uint64(0), np.uint64(0)
    i = start
    while end - i >= 8:
        x = load8(data, i)
        hi = mix(hi ^ x)
        lo = mix((lo + x) * ROLL_FACTOR)
        i += 8
    x = load_part(data, i, end - i)
    length = np.uint64(end - start) * LENGTH_FACTOR
    return mix((hi ^ x) + length), mix(((lo + x) * ROLL_FACTOR) ^ length)


@njit(cache=True, nogil=True)
def _strip_quickly(data: Any, classes: Any, first: Any, last: Any) -> Any:
    """As `_strip`, which decodes every code point; mostly those at the ends are ASCII."""
    while first < last and data[first] < 0x80 and classes[data[first]] & SPACE:
        first += 1
    while first < last and data[last - 1] < 0x80 and classes[data[last - 1]] & SPACE:
        last -= 1
    if first < last and (data[first] >= 0x80 or data[last - 1] >= 0x80):
        return _strip(data, classes, first, last)
    return first, last


@njit(cache=True, nogil=True)
def _units(
    offsets: Any, data: Any, classes: Any, by_line: Any, min_chars: Any, out: Any, hashes: Any, chars: Any
) -> Any:  # fmt: skip
    """Fills out (int32[3, k]: rows, starts, ends) and hashes (uint64[2, k]); gives their number."""
    n, gap = np.int64(0), 1 if by_line else 2
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        point, total = np.int64(0), np.int64(0)  # code points before byte `start`; of units so far
        while start < stop:
            end, is_ascii = _line_end(data, start, stop)
            if not by_line:
                while end + 1 < stop and data[end + 1] != _NEWLINE:
                    end, more = _line_end(data, end + 1, stop)
                    is_ascii = is_ascii and more
                end = min(end, stop)
            first, last = _strip_quickly(data, classes, start, end)
            before, size, after = first - start, last - first, end - last
            if not is_ascii:
                before = count_code_points(data, start, first)
                size = count_code_points(data, first, last)
                after = count_code_points(data, last, end)
            total += size
            if size >= min_chars:
                out[0, n], out[1, n], out[2, n] = row, point + before, point + before + size
                hashes[0, n], hashes[1, n] = hash_wide(data, first, last)
                n += 1
            point += before + size + after + gap
            start = end + gap
        chars[row] = total
    return n


def hashed_units(text: TextBuffers, *, by_line: bool, min_chars: int) -> HashedUnits:
    """The units of each of n texts that have at least `min_chars` code points.

    Args:
        text: n texts. by_line: lines, else paragraphs. min_chars: at least 1.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    # A unit has min_chars bytes and a newline behind it, but for the last one of its text.
    room = int(offsets[-1] - offsets[0]) // (min_chars + 1) + len(offsets)
    out, hashes = np.empty((3, room), np.int32), np.empty((2, room), np.uint64)
    chars = np.zeros(len(offsets) - 1, np.int64)
    count = _units(offsets, data, class_table(), by_line, min_chars, out, hashes, chars)
    rows, starts, ends = (column[:count].copy() for column in out)
    return HashedUnits(rows, starts, ends, hashes[0, :count].copy(), hashes[1, :count].copy(), chars)


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    hashed_units(ONE_TEXT, by_line=True, min_chars=1)
