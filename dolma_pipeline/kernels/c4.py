"""What C4's rules say of each line and document, in one pass over the word and line tables.

A line's end and the ends of its sentences are ends of words, and every phrase that is looked for ends in a word
that begins with it, so only first letters and last characters of words are read. Cost: ~25 ns a word on top of
the tables.
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
section 2.2 (the final version: 5 words a line, 3 sentences a page).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.citations import CutLines
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lines import BLANK, split_lines
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import before, decode
from dolma_pipeline.kernels.words import split_words

NO_END = 1
"""Flag of a line: does not end in one of the end marks, or ends in `...`; a blank line does not."""
FEW_WORDS = 2
"""Flag of a line: fewer words than asked for; a blank line has none."""
JAVASCRIPT = 4
"""Flag of a line: holds `javascript`, in any case of its letters."""
POLICY = 8
"""Flag of a line: holds one of POLICY_PHRASES, in any case of their letters."""

POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

_LOREM_IPSUM = 16
_JAVASCRIPT, _COOKIES, _POLICY, _USE, _IPSUM = (
    np.frombuffer(word, np.uint8) for word in (b"javascript", b"cookies", b"policy", b"use", b"ipsum")
)
_BEFORE_COOKIES = tuple(np.frombuffer(word, np.uint8) for word in (b"uses ", b"use of ", b"use "))
_BEFORE_POLICY = tuple(np.frombuffer(word, np.uint8) for word in (b"privacy ", b"cookie "))
_BEFORE_USE, _BEFORE_IPSUM = np.frombuffer(b"terms of ", np.uint8), np.frombuffer(b"lorem ", np.uint8)


class LineVerdicts(NamedTuple):
    """What C4 says of a batch: of its L lines (those of `split_lines`), and of its n documents.

    `flags` (uint8[L]) are the bits of this module, 0 for a line that stays; `line_count` and `kept_line_count`
    (int64[n]) count lines that are not blank, and those of them that stay; `sentence_count` (int64[n]) the
    sentences in lines that stay; `has_curly_bracket` and `has_lorem_ipsum` are bool[n].
    """

    flags: NDArray[np.uint8]
    line_count: NDArray[np.int64]
    kept_line_count: NDArray[np.int64]
    sentence_count: NDArray[np.int64]
    has_curly_bracket: NDArray[np.bool_]
    has_lorem_ipsum: NDArray[np.bool_]


def judge_lines(
    text: TextBuffers, words: Tokens, lines: Tokens, *, min_words: int, end_marks: str, cut: CutLines | None = None
) -> LineVerdicts:
    """C4's verdict on each line and document.

    A sentence ends where a word ends in `.`, `!` or `?`, maybe with a closing `"` or `”` after it.

    Args:
        text: n documents.
        words: `split_words(text)`.
        lines: `split_lines(text)`.
        min_words: lines with fewer words are flagged FEW_WORDS.
        end_marks: characters that a line may end in.
        cut: lines that are judged by what is left of them, such as `without_citations(text, lines, …)`.
    """
    marks = read_only(np.array(sorted(map(ord, set(end_marks))), np.int32))
    flags, sentences, has_lorem_ipsum = _judged(text, words, lines, min_words, marks)
    if cut is not None and len(cut.at):
        left_words, left_lines = split_words(cut.text), split_lines(cut.text)
        flags[cut.at], sentences[cut.at], _ = _judged(cut.text, left_words, left_lines, min_words, marks)
    counts = np.zeros((3, len(text.offsets) - 1), np.int64)
    _add_up(lines.rows, lines.flags, flags, sentences, counts)
    return LineVerdicts(
        flags=read_only(flags),
        line_count=counts[0],
        kept_line_count=counts[1],
        sentence_count=counts[2],
        has_curly_bracket=_holding(text, ord("{")),
        has_lorem_ipsum=has_lorem_ipsum,
    )


def _judged(
    text: TextBuffers, words: Tokens, lines: Tokens, min_words: int, marks: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    """Flags and sentences of each line, and which documents hold `lorem ipsum`."""
    flags, sentences = np.empty(len(lines.starts), np.uint8), np.empty(len(lines.starts), np.int32)
    has_lorem_ipsum = np.zeros(len(text.offsets) - 1, np.bool_)
    _judge(
        read_only(text.data), words.rows, words.starts, words.ends, lines.rows, lines.starts, lines.ends, marks,
        min_words, flags, sentences, has_lorem_ipsum,
    )  # fmt: skip
    return flags, sentences, has_lorem_ipsum


def _holding(text: TextBuffers, byte: int) -> NDArray[np.bool_]:
    """Which documents hold an ASCII character, bool[n]; numpy's comparison is faster than a loop here."""
    start, stop = int(text.offsets[0]), int(text.offsets[-1])
    at = np.flatnonzero(text.data[start:stop] == byte) + start
    holding = np.zeros(len(text.offsets) - 1, np.bool_)
    holding[np.searchsorted(text.offsets, at, side="right") - 1] = True
    return holding


@njit(cache=True, nogil=True)
def spells(data: Any, start: Any, end: Any, phrase: Any) -> Any:
    """Whether `data[start:end]` begins with a phrase, its ASCII letters in either case."""
    if end - start < len(phrase):
        return False
    for i in range(len(phrase)):
        b = data[start + i]
        if b != phrase[i] and not (0x41 <= b <= 0x5A and b + 0x20 == phrase[i]):
            return False
    return True


@njit(cache=True, nogil=True)
def _follows(data: Any, first: Any, start: Any, phrase: Any) -> Any:
    """Whether `data[first:start]` ends with a phrase, its ASCII letters in either case."""
    return start - first >= len(phrase) and spells(data, start - len(phrase), start, phrase)


@njit(cache=True, nogil=True)
def _phrase(data: Any, first: Any, start: Any, end: Any) -> Any:
    """What ends in the word `data[start:end]` of a line that begins at `first`: POLICY, _LOREM_IPSUM or 0."""
    if spells(data, start, end, _COOKIES):
        for phrase in _BEFORE_COOKIES:
            if _follows(data, first, start, phrase):
                return POLICY
    elif spells(data, start, end, _POLICY):
        for phrase in _BEFORE_POLICY:
            if _follows(data, first, start, phrase):
                return POLICY
    elif spells(data, start, end, _USE):
        return POLICY if _follows(data, first, start, _BEFORE_USE) else 0
    elif spells(data, start, end, _IPSUM):
        return _LOREM_IPSUM if _follows(data, first, start, _BEFORE_IPSUM) else 0
    return 0


@njit(cache=True, nogil=True)
def _holds_javascript(data: Any, start: Any, end: Any) -> Any:
    for i in range(start, end - len(_JAVASCRIPT) + 1):
        if data[i] | 0x20 == 0x6A and spells(data, i, end, _JAVASCRIPT):
            return True
    return False


@njit(cache=True, nogil=True)
def _ends_sentence(data: Any, start: Any, end: Any) -> Any:
    last = data[end - 1]
    if last == 0x22:
        end -= 1
    elif last == 0x9D and end - start > 3 and data[end - 2] == 0x80 and data[end - 3] == 0xE2:
        end -= 3
    if end == start:
        return False
    last = data[end - 1]
    return last == 0x2E or last == 0x21 or last == 0x3F


@njit(cache=True, nogil=True)
def _ends_line(data: Any, start: Any, end: Any, marks: Any) -> Any:
    """Whether the last word of a line ends in an end mark, and not in three dots."""
    point, _ = decode(data, before(data, end))
    for mark in marks:
        if point == mark:
            dots = point == 0x2E and end - start >= 3 and data[end - 2] == 0x2E and data[end - 3] == 0x2E
            return not dots
    return False


@njit(cache=True, nogil=True)
def _judge(
    data: Any, word_rows: Any, word_starts: Any, word_ends: Any, line_rows: Any, line_starts: Any, line_ends: Any,
    marks: Any, min_words: Any, flags: Any, sentences: Any, has_lorem_ipsum: Any,
) -> None:  # fmt: skip
    for row in range(len(word_rows) - 1):
        lorem_ipsum = False
        w, last_word = word_rows[row], word_rows[row + 1]
        for line in range(line_rows[row], line_rows[row + 1]):
            first, stop = line_starts[line], line_ends[line]
            opened = w
            flag = np.uint8(0)
            num_sentences = 0
            while w < last_word and word_ends[w] <= stop:
                start, end = word_starts[w], word_ends[w]
                if end - start >= 3:  # most words begin neither with co(okies), po(licy), us(e) nor ip(sum)
                    a, b = data[start] | 0x20, data[start + 1] | 0x20
                    if (
                        ((a == 0x63 or a == 0x70) and b == 0x6F)
                        or (a == 0x75 and b == 0x73)
                        or (a == 0x69 and b == 0x70)
                    ):
                        phrase = _phrase(data, first, start, end)
                        flag |= np.uint8(phrase & POLICY)
                        lorem_ipsum |= phrase == _LOREM_IPSUM
                if end - start >= len(_JAVASCRIPT) and _holds_javascript(data, start, end):
                    flag |= np.uint8(JAVASCRIPT)
                num_sentences += _ends_sentence(data, start, end)
                w += 1
            if w - opened < min_words:
                flag |= np.uint8(FEW_WORDS)
            if w == opened or not _ends_line(data, word_starts[w - 1], word_ends[w - 1], marks):
                flag |= np.uint8(NO_END)
            flags[line], sentences[line] = flag, num_sentences
        has_lorem_ipsum[row] = lorem_ipsum


@njit(cache=True, nogil=True)
def _add_up(rows: Any, line_flags: Any, flags: Any, sentences: Any, counts: Any) -> None:
    """Fills counts: lines that are not blank, those that stay, and their sentences."""
    for row in range(len(rows) - 1):
        for line in range(rows[row], rows[row + 1]):
            if not line_flags[line] & BLANK:
                counts[0, row] += 1
                if flags[line] == 0:
                    counts[1, row] += 1
                    counts[2, row] += sentences[line]


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    judge_lines(ONE_TEXT, ONE_TOKEN, ONE_TOKEN, min_words=5, end_marks=".")
