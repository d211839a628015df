"""The folded words of a text with their hashes and places: those of which MinHash's shingles are made.

What a word is, and its hash, are told in `kernels.minhash`: a maximal run of `\\w`, lower-cased a code point at a time,
or a letter of a script without blanks with its marks. Here each word has its place too, for whatever marks stretches of
text. Cost: ~450 MB of text a CPU-second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import hash_bytes, load8, mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import ONES
from dolma_pipeline.kernels.minhash import (
    ALONE,
    JOINS,
    LENGTH_FACTOR,
    ONE,
    _absorb,
    _absorb_wide,
    _fold8,
    _letter_end,
    fold_table,
)
from dolma_pipeline.kernels.tables import ONE_TEXT
from dolma_pipeline.kernels.unicode import NUM_CODE_POINTS, decode


@njit(cache=True, nogil=True)
def fold_words(
    data: NDArray[np.uint8],
    at: int,
    stop: int,
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
) -> int:
    """Writes hash, first byte, and byte after the last one of each word of `data[at:stop]`; gives their number.

    Args:
        fold, several: `minhash.fold_table`. hashes, starts, ends: with room for `most_words` of the text.
    """
    count = 0
    h, chunk, num_bytes = np.uint64(0), np.uint64(0), 0
    while at < stop:
        if data[at] < 0x80 and fold[data[at]] == 0:
            at += 1
            continue
        start, end = at, -1
        while at < stop:  # as in `minhash._shingles_of`, which keeps no places and is the faster for it
            if num_bytes & 7 == 0 and at + 8 <= stop:
                lower, others = _fold8(load8(data, at))
                if others == 0:
                    h = mix(h ^ lower)
                    num_bytes += 8
                    at += 8
                    continue
                before = ((others & (~others + ONE)) >> np.uint64(7)) - ONE
                chunk = lower & before
                length = int(np.int64(((before & ONES) * ONES) >> np.uint64(56)))
                num_bytes += length
                at += length
            byte = data[at]
            if byte < 0x80:
                low = fold[byte]
                if low == 0:
                    end = at
                    at += 1
                    break
                at += 1
                h, chunk, num_bytes = _absorb(h, chunk, num_bytes, low)
            else:
                code_point, length = decode(data, at)
                low = fold[code_point]
                if low == ALONE:
                    break
                if low == 0 or low == JOINS:
                    end = at
                    at += length
                    break
                at += length
                if low < NUM_CODE_POINTS:
                    h, chunk, num_bytes = _absorb_wide(h, chunk, num_bytes, low)
                else:
                    for part in several[low - NUM_CODE_POINTS]:
                        if part:
                            h, chunk, num_bytes = _absorb_wide(h, chunk, num_bytes, part)
        if num_bytes == 0:
            start = at
            at = _letter_end(data, at, stop, fold) if at < stop else at
            if at == start:
                continue
            word, end = hash_bytes(data, start, at), at
        else:
            word = mix((h ^ chunk) + np.uint64(num_bytes) * LENGTH_FACTOR)
            h, chunk, num_bytes = np.uint64(0), np.uint64(0), 0
            if end < 0:
                end = at
        hashes[count], starts[count], ends[count] = word, start, end
        count += 1
    return count


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    fold, several = fold_table()
    fold_words(ONE_TEXT.data, 0, 1, fold, several, np.empty(2, np.uint64), np.empty(2, np.int32), np.empty(2, np.int32))
