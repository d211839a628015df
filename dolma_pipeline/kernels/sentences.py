"""The sentences of a text, and how many paragraphs and sentences it has, by the same plain rule in every script.

A paragraph is a piece of `text.split("\\n\\n")` that is not blank.

A sentence ends behind a mark that ends one (`sentence_marks`: `.`, `!`, `?`, `。`, `।`, `؟` and so on) and the marks,
closing ones too, that follow it at once: if white space or the text's end comes next, or if one that ends is not ASCII,
as not all scripts set blanks. It also ends with its paragraph. White space around it does not belong to it, and a piece
without a letter, number or underscore is no sentence, nor part of one. So an abbreviation that ends in a full stop ends
a sentence here, the end of a line does not, and a heading is a sentence if an empty line follows it.
Cost: on top of the word table ~10 ns a word to count them, ~25 ns a word and 22 bytes a sentence to give them; words
that are not ASCII are read (one core, Xeon 2.6 GHz).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.sentence_marks import CLOSING, TERMINAL, mark_table
from dolma_pipeline.kernels.tables import (
    ONE_TEXT,
    ONE_TOKEN,
    TextBuffers,
    Tokens,
    empty_tokens,
    read_only,
    sealed_tokens,
)
from dolma_pipeline.kernels.unicode import WORD, before, class_table, count_code_points, decode
from dolma_pipeline.kernels.words import LINE_START

_NEWLINE = 0x0A


def count_paragraphs_and_sentences(text: TextBuffers, words: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Paragraphs and sentences of each document, int64[n] each.

    Args:
        text: n documents. words: `split_words(text)`.
    """
    paragraphs, rows = _found(text, words, None, None)
    return paragraphs, np.diff(rows)


def split_sentences(text: TextBuffers, words: Tokens) -> Tokens:
    """The sentences of each document, as many as `count_paragraphs_and_sentences` counts; no flags.

    Args:
        text: n documents. words: `split_words(text)`.
    """
    _, sentences = count_paragraphs_and_sentences(text, words)
    arrays = empty_tokens(len(sentences), int(sentences.sum()))
    _, arrays["rows"] = _found(text, words, arrays["starts"], arrays["ends"])
    _describe(read_only(text.data), *(arrays[name] for name in ("starts", "ends", "hashes", "chars", "flags")))
    return sealed_tokens(arrays, len(arrays["starts"]))


def _found(
    text: TextBuffers, words: Tokens, starts: NDArray[np.int32] | None, ends: NDArray[np.int32] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fills starts and ends, if they are wanted.

    Returns:
        int64[n], paragraphs of each document; int64[n + 1], the place of its first sentence among all.
    """
    paragraphs, rows = np.zeros(len(words.rows) - 1, np.int64), np.zeros(len(words.rows), np.int64)
    _find(
        read_only(text.data), class_table(), mark_table(), words.rows, words.starts, words.ends, words.chars,
        words.flags, paragraphs, rows, starts, ends,
    )  # fmt: skip
    return paragraphs, rows


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
def _behind_marks(data: Any, marks: Any, i: Any, end: Any) -> Any:
    """The first byte behind the marks, closing ones too, that `data[i:end]` begins with."""
    while i < end:
        point, size = decode(data, i)
        if not marks[point]:
            break
        i += size
    return i


@njit(cache=True, nogil=True)
def _put(starts: Any, ends: Any, n: Any, first: Any, last: Any) -> Any:
    """Puts sentence n where it belongs, and returns n + 1."""
    if starts is not None:  # known when it is compiled: counting takes no time for what only spans need
        starts[n], ends[n] = first, last
    return n + 1


@njit(cache=True, nogil=True)
def _find(
    data: Any, classes: Any, marks: Any, rows: Any, words: Any, word_ends: Any, chars: Any, flags: Any,
    paragraphs: Any, sentences: Any, starts: Any, ends: Any,
) -> None:  # fmt: skip
    """Fills paragraphs, and rows of sentences; starts and ends, unless both are None."""
    n = np.int64(0)
    for row in range(len(rows) - 1):
        first = np.int64(0)  # where what stands behind the last end begins
        open_ = False  # some word character stands there
        count = np.int64(0)
        for w in range(rows[row], rows[row + 1]):
            start, end = np.int64(words[w]), np.int64(word_ends[w])
            if flags[w] & LINE_START and (w == rows[row] or _holds_empty_line(data, np.int64(word_ends[w - 1]), start)):
                count += 1
                if open_:
                    n = _put(starts, ends, n, first, word_ends[w - 1])
                first, open_ = start, False
            if end - start == chars[w]:  # ASCII
                i = start
                while i < end and not open_:
                    open_ = classes[data[i]] & WORD != 0
                    i += 1
            else:
                i = start
                while i < end:
                    point, size = decode(data, i)
                    i += size
                    if classes[point] & WORD:
                        open_ = True
                    elif point >= 0x80 and marks[point] & TERMINAL:
                        i = _behind_marks(data, marks, i, end)
                        if open_:
                            n = _put(starts, ends, n, first, i)
                        first, open_ = i, False
            last = data[end - 1]
            if (last >= 0x80 or marks[last]) and _ends_in_mark(data, marks, start, end):
                if open_:
                    n = _put(starts, ends, n, first, end)
                first, open_ = np.int64(words[w + 1]) if w + 1 < len(words) else end, False
        if open_:
            n = _put(starts, ends, n, first, word_ends[rows[row + 1] - 1])
        paragraphs[row], sentences[row + 1] = count, n


@njit(cache=True, nogil=True)
def _describe(data: Any, starts: Any, ends: Any, hashes: Any, chars: Any, flags: Any) -> None:
    """Fills in what a table says of a sentence besides where it stands."""
    for i in range(len(starts)):
        start, end = np.int64(starts[i]), np.int64(ends[i])
        hashes[i] = hash_bytes(data, start, end)
        chars[i] = count_code_points(data, start, end)
        flags[i] = 0


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    split_sentences(ONE_TEXT, ONE_TOKEN)
