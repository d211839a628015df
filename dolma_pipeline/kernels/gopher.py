"""The quality numbers of Gopher: words, symbols, lines that are bullets or break off, stop words.

Reads the word table only: a line is the words from one LINE_START to the next, so blank lines count nowhere and
nothing has to be stripped. Cost: ~8 ns a word on top of the table.
Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", A.1.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.words import ALPHA, ELLIPSIS, HASH, LINE_START, STOP_SHIFT, is_ellipsis

QUALITY = (
    "word_count",
    "mean_word_length",
    "median_word_length",
    "symbol_ratio",
    "bullet_line_share",
    "ellipsis_line_share",
    "alpha_word_share",
    "stop_word_kinds",
    "stop_word_count",
)
"""Columns of `quality_columns`, in order."""

_COUNTS = ("word_count", "stop_word_kinds", "stop_word_count")
_LENGTHS = 256  # words longer than this make their document's median a sort


def quality_columns(text: TextBuffers, words: Tokens) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Gopher's quality numbers of each document, all 0 for one without words.

    Lines are those of `text.split("\\n")` that are not blank, stripped. Lengths count code points.

    Args:
        text: n documents.
        words: `split_words(text)`.

    Returns:
        Columns QUALITY, each [n]; counts are int64, the rest float64. symbol_ratio is the larger of `#` per word
        and ellipses (`...` or `…`, as often as they occur) per word, so that one bound holds for either;
        bullet_line_share counts lines that begin with `•`, `*` or `-`; ellipsis_line_share lines that end with
        an ellipsis; stop_word_kinds says how many of the eight stop words occur, stop_word_count how often.
    """
    table = np.zeros((len(QUALITY), len(words.rows) - 1), np.float64)
    _quality(table, read_only(text.data), *words)
    return {
        name: column.astype(np.int64) if name in _COUNTS else column
        for name, column in zip(QUALITY, table, strict=True)
    }


@njit(cache=True, nogil=True)
def ends_with_ellipsis(data: Any, start: Any, end: Any) -> Any:
    """Whether `data[start:end]` ends with `...` or `…`."""
    return end - start >= 3 and is_ellipsis(data[end - 3], data[end - 2], data[end - 1])


@njit(cache=True, nogil=True)
def _is_bullet(data: Any, start: Any, end: Any) -> Any:
    if data[start] == 0x2A or data[start] == 0x2D:
        return True
    return end - start >= 3 and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA2


@njit(cache=True, nogil=True)
def _count_symbols(data: Any, start: Any, end: Any) -> Any:
    """How many `#`, and how many ellipses (`...` without overlap, `…`), a word holds."""
    hashes = ellipses = 0
    i = start
    while i < end:
        if data[i] == 0x23:
            hashes += 1
        elif ends_with_ellipsis(data, i, min(i + 3, end)):
            ellipses += 1
            i += 2
        i += 1
    return hashes, ellipses


@njit(cache=True, nogil=True)
def median_of(chars: Any, first: Any, last: Any, histogram: Any) -> Any:
    """Median of `chars[first:last]` (not empty); `histogram` counts those below its own length."""
    n = last - first
    low, high = (n - 1) // 2, n // 2  # ranks, equal for odd n
    seen, at_low = 0, -1
    for length in range(len(histogram)):
        seen += histogram[length]
        if at_low < 0 and seen > low:
            at_low = length
        if seen > high:
            return (at_low + length) / 2
    lengths = np.sort(chars[first:last])
    return (np.int64(lengths[low]) + np.int64(lengths[high])) / 2


@njit(cache=True, nogil=True)
def _quality(
    table: Any, data: Any, rows: Any, starts: Any, ends: Any, unused_hashes: Any, chars: Any, flags: Any
) -> None:
    histogram = np.zeros(_LENGTHS, np.int64)
    for row in range(len(rows) - 1):
        first, last = rows[row], rows[row + 1]
        if first == last:
            continue
        n = last - first
        total = with_letter = num_hashes = num_ellipses = kinds = stops = np.int64(0)
        lines = bullets = broken_off = np.int64(0)
        histogram[:] = 0
        for w in range(first, last):
            length, flag = np.int64(chars[w]), np.int64(flags[w])
            total += length
            if length < _LENGTHS:
                histogram[length] += 1
            with_letter += flag & ALPHA
            if flag & (HASH | ELLIPSIS):
                hashes, ellipses = _count_symbols(data, starts[w], ends[w])
                num_hashes += hashes
                num_ellipses += ellipses
            place = flag >> STOP_SHIFT
            stops += place != 0
            kinds |= (np.int64(1) << place) >> 1
            if flag & LINE_START:
                lines += 1
                bullets += _is_bullet(data, starts[w], ends[w])
                if w > first:
                    broken_off += ends_with_ellipsis(data, starts[w - 1], ends[w - 1])
        broken_off += ends_with_ellipsis(data, starts[last - 1], ends[last - 1])
        num_kinds = 0
        while kinds:
            num_kinds += 1
            kinds &= kinds - 1
        table[0, row] = n
        table[1, row] = total / n
        table[2, row] = median_of(chars, first, last, histogram)
        table[3, row] = max(num_hashes, num_ellipses) / n
        table[4, row] = bullets / lines
        table[5, row] = broken_off / lines
        table[6, row] = with_letter / n
        table[7, row] = num_kinds
        table[8, row] = stops


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    quality_columns(ONE_TEXT, ONE_TOKEN)
