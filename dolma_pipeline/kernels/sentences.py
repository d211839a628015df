"""The sentences of a text, and how many paragraphs and sentences it has, by the same plain rule in every script.

A paragraph is a piece of `text.split("\\n\\n")` that is not blank.

A sentence ends behind a mark that ends one (`sentence_marks`: `.`, `!`, `?`, `。`, `।`, `؟` and so on) and the marks,
closing ones too, that follow it at once: if white space or the text's end comes next, or if one that ends is not ASCII,
as not all scripts set blanks. It also ends with its paragraph. White space around it does not belong to it, and a piece
without a letter, number or underscore is no sentence, nor part of one. So an abbreviation that ends in a full stop ends
a sentence here, the end of a line does not, and a heading is a sentence if an empty line follows it.
Cost: on top of the batch's bitmaps some ns a mark to count them; ~1 ns a byte more, and 22 bytes a sentence, to give
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.bitmaps import bits_between, find_bitmaps
from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.intrinsics import BLOCK, lowest_bit
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.sentence_marks import TERMINAL, mark_table
from dolma_pipeline.kernels.tables import (
    ONE_TEXT,
    Bitmaps,
    TextBuffers,
    Tokens,
    empty_tokens,
    read_only,
    sealed_tokens,
)
from dolma_pipeline.kernels.unicode import count_code_points, decode


def count_paragraphs_and_sentences(text: TextBuffers, bitmaps: Bitmaps) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Paragraphs and sentences of each document, int64[n] each.

    Args:
        text: n documents. bitmaps: `find_bitmaps(text)`.
    """
    paragraphs, rows = _found(text, bitmaps, None, None)
    return paragraphs, np.diff(rows)


def split_sentences(text: TextBuffers, bitmaps: Bitmaps) -> Tokens:
    """The sentences of each document, as many as `count_paragraphs_and_sentences` counts; no flags.

    Args:
        text: n documents. bitmaps: `find_bitmaps(text)`.
    """
    _, sentences = count_paragraphs_and_sentences(text, bitmaps)
    arrays = empty_tokens(len(sentences), int(sentences.sum()))
    _, arrays["rows"] = _found(text, bitmaps, arrays["starts"], arrays["ends"])
    _describe(read_only(text.data), *(arrays[name] for name in ("starts", "ends", "hashes", "chars", "flags")))
    return sealed_tokens(arrays, len(arrays["starts"]))


def _found(
    text: TextBuffers, bitmaps: Bitmaps, starts: NDArray[np.int32] | None, ends: NDArray[np.int32] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fills starts and ends, if they are wanted.

    Returns:
        int64[n], paragraphs of each document; int64[n + 1], the place of its first sentence among all.
    """
    paragraphs, rows = np.zeros(len(text.offsets) - 1, np.int64), np.zeros(len(text.offsets), np.int64)
    _find(
        read_only(text.offsets), read_only(text.data), mark_table(), bitmaps.space, bitmaps.newline, bitmaps.word,
        bitmaps.mark, paragraphs, rows, starts, ends,
    )  # fmt: skip
    return paragraphs, rows


@njit(cache=True, nogil=True, inline="always")
def _is_space(space: Any, at: Any) -> Any:
    return space[at // BLOCK] >> np.uint64(at % BLOCK) & np.uint64(1)


@njit(cache=True, nogil=True)
def _behind_marks(data: Any, marks: Any, i: Any, stop: Any) -> Any:
    """The first byte behind the marks, closing ones too, that `data[i:stop]` begins with; whether one of them ends a
    sentence, and whether one that does is not ASCII."""
    ends = is_wide = False
    while i < stop:
        point, size = decode(data, i)
        kind = marks[point]
        if not kind:
            break
        if kind & TERMINAL:
            ends = True
            is_wide |= size > 1
        i += size
    return i, ends, is_wide


@njit(cache=True, nogil=True)
def _put(space: Any, origin: Any, starts: Any, ends: Any, n: Any, first: Any, last: Any) -> Any:
    """Puts sentence n, without the white space around it, where it belongs, and returns n + 1."""
    if starts is not None:  # known when it is compiled: counting takes no time for what only spans need
        while _is_space(space, first):
            first += 1
        while _is_space(space, last - 1):
            last -= 1
        starts[n], ends[n] = origin + first, origin + last
    return n + 1


@njit(cache=True, nogil=True)
def _find(
    offsets: Any, data: Any, marks: Any, space: Any, newline: Any, word: Any, mark: Any, paragraphs: Any,
    sentences: Any, starts: Any, ends: Any,
) -> None:  # fmt: skip
    """Fills paragraphs, and rows of sentences; starts and ends, unless both are None.

    Goes from mark to mark, an empty line being one: what is asked is whether a word character, or anything but white
    space, stood before it.
    """
    n, one = np.int64(0), np.uint64(1)
    origin = np.int64(offsets[0])
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]) - origin, np.int64(offsets[row + 1]) - origin
        first = behind = start  # where the sentence, and what was not looked at, begins
        open_ = filled = ended = np.uint64(0)  # word characters of the sentence; of the paragraph; a newline before
        count = np.int64(0)
        for block in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
            inside = bits_between(block, start, stop)
            words, fills, breaks = word[block] & inside, ~space[block] & inside, newline[block] & inside
            empty = breaks & (breaks << one | ended)
            ended = breaks >> np.uint64(BLOCK - 1)
            events = mark[block] & inside | empty
            while events:
                k = lowest_bit(events)
                bit = one << np.uint64(k)
                events ^= bit
                at = BLOCK * block + k
                if empty & bit:
                    count += np.int64(filled | fills & (bit - one) != 0)
                    if open_ | words & (bit - one):
                        n = _put(space, origin, starts, ends, n, first, at)
                    fills &= ~(bit - one)
                    filled = np.uint64(0)
                    first = at
                elif at < behind:
                    continue
                else:
                    end, has_end, is_wide = _behind_marks(data, marks, origin + at, origin + stop)
                    behind = end - origin
                    if not (is_wide or (has_end and (behind == stop or _is_space(space, behind)))):
                        continue
                    if open_ | words & (bit - one):
                        n = _put(space, origin, starts, ends, n, first, behind)
                    first = behind
                words &= ~(bit - one)
                open_ = np.uint64(0)
            open_ |= words
            filled |= fills
        count += np.int64(filled != 0)
        if open_:
            n = _put(space, origin, starts, ends, n, first, stop)
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
    split_sentences(ONE_TEXT, find_bitmaps(ONE_TEXT))
