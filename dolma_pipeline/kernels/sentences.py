"""How many paragraphs and sentences a text has, by the same plain rule in every script.

A paragraph is a piece of `text.split("\\n\\n")` that is not blank.

A sentence ends behind `.`, `!` or `?` (and closing marks behind these) where white space or the text's end follows;
behind any other mark that ends one (`。`, `।`, `؟`) wherever it stands, as not all scripts set blanks; and at the end
of a paragraph. What holds no letter, number or underscore is no sentence. So an abbreviation that ends in a full
stop ends a sentence here, and a heading is one if an empty line follows it.
Cost: ~10 ns a word on top of the word table; words that are not ASCII are read (one core, Xeon 2.6 GHz).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.sentence_marks import CLOSING, TERMINAL, mark_table
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import WORD, before, class_table, decode
from dolma_pipeline.kernels.words import LINE_START

_NEWLINE = 0x0A


def count_paragraphs_and_sentences(text: TextBuffers, words: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Paragraphs and sentences of each document, int64[n] each.

    Args:
        text: n documents. words: `split_words(text)`.
    """
    counts = np.zeros((2, len(text.offsets) - 1), np.int64)
    _count(
        read_only(text.data), class_table(), mark_table(), words.rows, words.starts, words.ends, words.chars,
        words.flags, counts,
    )  # fmt: skip
    return counts[0], counts[1]


@njit(cache=True, nogil=True)
def _holds_empty_line(data: Any, end: Any, start: Any) -> Any:
    """Whether the white space `data[end:start]` between two words holds two newlines in a row."""
    holds = False
    for i in range(end + 1, start):
        holds |= data[i] == _NEWLINE and data[i - 1] == _NEWLINE
    return holds


@njit(cache=True, nogil=True)
def _ends_in_mark(data: Any, marks: Any, start: Any, end: Any) -> Any:
    """Whether `data[start:end]` ends in a mark that ends a sentence, closing marks behind it aside."""
    while end > start:
        first = before(data, end)
        kind = marks[decode(data, first)[0]]
        if kind & TERMINAL:
            return True
        if not kind & CLOSING:
            return False
        end = first
    return False


@njit(cache=True, nogil=True)
def _count(
    data: Any, classes: Any, marks: Any, rows: Any, starts: Any, ends: Any, chars: Any, flags: Any, counts: Any
) -> None:
    for row in range(len(rows) - 1):
        open_ = False  # some word character stands behind the last end
        paragraphs = count = np.int64(0)
        for w in range(rows[row], rows[row + 1]):
            start, end = np.int64(starts[w]), np.int64(ends[w])
            if flags[w] & LINE_START and (w == rows[row] or _holds_empty_line(data, np.int64(ends[w - 1]), start)):
                paragraphs += 1
                count += open_
                open_ = False
            if end - start == chars[w]:  # ASCII
                i = start
                while i < end and not open_:
                    open_ = classes[data[i]] & WORD != 0
                    i += 1
            else:
                i = start
                while i < end:
                    point, size = decode(data, i)
                    if classes[point] & WORD:
                        open_ = True
                    elif point >= 0x80 and marks[point] & TERMINAL:
                        count += open_
                        open_ = False
                    i += size
            last = data[end - 1]
            if open_ and (last >= 0x80 or marks[last]) and _ends_in_mark(data, marks, start, end):
                count += 1
                open_ = False
        counts[0, row], counts[1, row] = paragraphs, count + open_


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    count_paragraphs_and_sentences(ONE_TEXT, ONE_TOKEN)
