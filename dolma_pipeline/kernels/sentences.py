"""How many sentences a text has, by the same plain rule in every script.

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


def count_sentences(text: TextBuffers, words: Tokens, paragraphs: Tokens) -> NDArray[np.int64]:
    """Sentences of each document, int64[n].

    Args:
        text: n documents. words: `split_words(text)`. paragraphs: `split_paragraphs(text)`.
    """
    counts = np.zeros(len(text.offsets) - 1, np.int64)
    _count(
        read_only(text.data), class_table(), mark_table(), words.rows, words.starts, words.ends, words.chars,
        paragraphs.rows, paragraphs.ends, counts,
    )  # fmt: skip
    return counts


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
    data: Any, classes: Any, marks: Any, rows: Any, starts: Any, ends: Any, chars: Any, paragraph_rows: Any,
    paragraph_ends: Any, counts: Any,
) -> None:  # fmt: skip
    for row in range(len(rows) - 1):
        paragraph = paragraph_rows[row]
        open_ = False  # some word character stands behind the last end
        count = np.int64(0)
        for w in range(rows[row], rows[row + 1]):
            start, end = np.int64(starts[w]), np.int64(ends[w])
            if start >= paragraph_ends[paragraph]:
                count += open_
                open_ = False
                while start >= paragraph_ends[paragraph]:
                    paragraph += 1
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
        counts[row] = count + open_


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    count_sentences(ONE_TEXT, ONE_TOKEN, ONE_TOKEN)
