"""The numbers behind FineWeb's own rules: how lines end, short lines, lines that occur again, newlines.

Cost: ~20 ns a line on top of the word and line tables (one core, Xeon 2.6 GHz).
Source: Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", section 3.6,
and what datatrove's FineWebQualityFilter computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lines import BLANK
from dolma_pipeline.kernels.repetition import number_of
from dolma_pipeline.kernels.sentence_marks import TERMINAL, mark_table
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import before, decode

COLUMNS = ("end_mark_line_share", "short_line_share", "duplicate_line_chars", "newlines_per_word")
"""Columns of `fineweb_columns`, in order."""

END_QUOTES = "\"'”’"
"""A line may end in one of these, too."""


def fineweb_columns(
    text: TextBuffers, words: Tokens, lines: Tokens, *, short_line_chars: int
) -> dict[str, NDArray[np.float64]]:
    """FineWeb's numbers of each document, 0.0 where there is nothing to have a share of.

    Args:
        text: n documents. words: `split_words(text)`. lines: `split_lines(text)`.
        short_line_chars: a line of at most so many code points is short.

    Returns:
        Columns COLUMNS, each float64[n]. Lines are those that are not blank. end_mark_line_share: share of lines whose
        last character, white space aside, ends a sentence or is of END_QUOTES. duplicate_line_chars: code points of
        lines that stood before in the document, of all code points but newlines. newlines_per_word: newlines of the
        text to its words.
    """
    table = np.zeros((len(COLUMNS), len(text.offsets) - 1), np.float64)
    most = int(np.diff(lines.rows).max(initial=0))
    num_slots = 4
    while num_slots < 2 * most:
        num_slots *= 2
    slots = np.zeros(2 * num_slots, np.uint64)  # pairs, see `number_of`
    quotes = read_only(np.array([ord(quote) for quote in END_QUOTES], np.int32))
    _fineweb(
        table, slots, read_only(text.data), mark_table(), quotes, words.rows, words.ends, lines.rows, lines.starts,
        lines.ends, lines.chars, lines.flags, short_line_chars,
    )  # fmt: skip
    return dict(zip(COLUMNS, table, strict=True))


@njit(cache=True, nogil=True)
def _ends_well(data: Any, marks: Any, quotes: Any, end: Any) -> Any:
    point, _ = decode(data, before(data, end))
    ends = marks[point] & TERMINAL != 0
    for quote in quotes:
        ends |= point == quote
    return ends


@njit(cache=True, nogil=True)
def _fineweb(
    table: Any, slots: Any, data: Any, marks: Any, quotes: Any, word_rows: Any, word_ends: Any, rows: Any,
    starts: Any, ends: Any, chars: Any, flags: Any, short_line_chars: Any,
) -> None:  # fmt: skip
    for row in range(len(rows) - 1):
        w, last_word = word_rows[row], word_rows[row + 1]
        num_words = last_word - w
        mask = np.int64(4)
        while mask < 2 * (rows[row + 1] - rows[row]):
            mask *= 2
        mask -= 1
        count = ending = short = total = repeated = size = np.int64(0)
        for line in range(rows[row], rows[row + 1]):
            total += chars[line]
            if flags[line] & BLANK:
                continue
            while w < last_word and word_ends[w] <= ends[line]:
                w += 1
            count += 1
            ending += _ends_well(data, marks, quotes, word_ends[w - 1])
            short += chars[line] <= short_line_chars
            key = hash_bytes(data, np.int64(starts[line]), np.int64(ends[line]))
            if number_of(slots, mask, row + 1, key, key, size) == size:
                size += 1
            else:
                repeated += chars[line]
        if count:
            table[0, row] = ending / count
            table[1, row] = short / count
            table[2, row] = repeated / total
            table[3, row] = (rows[row + 1] - rows[row] - 1) / num_words


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    fineweb_columns(ONE_TEXT, ONE_TOKEN, ONE_TOKEN, short_line_chars=30)
