"""Sentences of a text, by their marks alone: for scores of pieces, in any script.

A line ends a sentence, and so does a run of `MARKS`, with the closing quotes and brackets after it, where white space
follows or a full-width mark stands in the run. Sentences are stripped, blank ones left out. There is no list of
abbreviations: `Dr. Who` is two. Cost: ~200 MB of text a second, 22 bytes a sentence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lines import _find_newline, _strip
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, Tokens, empty_tokens, read_only, sealed_tokens
from dolma_pipeline.kernels.unicode import SPACE, class_table, count_code_points, decode

MARKS = ".!?…。！？"
"""What ends a sentence."""
FULL_WIDTH = "。！？"
"""Those after which no white space is needed."""
CLOSING = "\"'”’»)]」』）"
"""What belongs to the sentence whose mark it follows."""

_MARKS, _FULL_WIDTH, _CLOSING = (tuple(map(ord, chars)) for chars in (MARKS, FULL_WIDTH, CLOSING))
_LAST_BYTES = tuple(sorted({mark.encode()[-1] for mark in MARKS} | {0x0A}))


def split_sentences(text: TextBuffers) -> Tokens:
    """The sentences of each document; no flags."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    arrays = empty_tokens(len(offsets) - 1, len(offsets) - 1 + _count_ends(offsets, data))
    count = _split_sentences(offsets, data, class_table(), *arrays.values())
    return sealed_tokens(arrays, count)


@njit(cache=True, nogil=True)
def _count_ends(offsets: Any, data: Any) -> Any:
    """How many sentences there are at most, but for the last of each document."""
    count = np.int64(0)
    for i in range(np.int64(offsets[0]), np.int64(offsets[-1])):
        for byte in _LAST_BYTES:
            count += data[i] == byte
    return count


@njit(cache=True, nogil=True)
def _is_one_of(point: Any, points: Any) -> Any:
    found = False
    for one in points:
        found |= point == one
    return found


@njit(cache=True, nogil=True)
def _end_of_sentence(data: Any, classes: Any, at: Any, end: Any) -> Any:
    """The first byte behind the sentence that begins at `at`, in a line that ends at `end`."""
    while at < end:
        point, size = decode(data, at)
        at += size
        if not _is_one_of(point, _MARKS):
            continue
        cuts = _is_one_of(point, _FULL_WIDTH)
        while at < end:
            point, size = decode(data, at)
            if not _is_one_of(point, _MARKS):
                break
            cuts = cuts or _is_one_of(point, _FULL_WIDTH)
            at += size
        while at < end:
            point, size = decode(data, at)
            if not _is_one_of(point, _CLOSING):
                break
            at += size
        if cuts or (at < end and classes[decode(data, at)[0]] & SPACE):
            return at
    return end


@njit(cache=True, nogil=True)
def _split_sentences(
    offsets: Any, data: Any, classes: Any, rows: Any, starts: Any, ends: Any, hashes: Any, chars: Any, flags: Any
) -> Any:
    """Fills the table, returns the number of sentences."""
    n = np.int64(0)
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while start < stop:
            line = _find_newline(data, start, stop)
            while start < line:
                end = _end_of_sentence(data, classes, start, line)
                first, last = _strip(data, classes, start, end)
                if first < last:
                    starts[n], ends[n] = first, last
                    hashes[n] = hash_bytes(data, first, last)
                    chars[n] = count_code_points(data, first, last)
                    flags[n] = 0
                    n += 1
                start = end
            start = line + 1
        rows[row + 1] = n
    return n


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    split_sentences(ONE_TEXT)
