"""What C4's rules say of each line and document, by bitmaps of the text.

64 bytes at a time: words are counted where one begins, sentences where white space follows a mark, and phrases are
looked for where a word begins with their first two letters, or `ja` stands. Cost: ~0.2 ns a byte and 10 ns a line on
top of the line table and the batch's bitmaps.
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
section 2.2 (the final version: 5 words a line, 3 sentences a page).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.bitmaps import bits_between, find_bitmaps, last_block
from dolma_pipeline.kernels.citations import CutLines
from dolma_pipeline.kernels.intrinsics import BLOCK, between, count_bits, equal, highest_bit, lowest_bit
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lines import BLANK, split_lines
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, Bitmaps, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import before, decode

NO_END = 1
"""Flag of a line: does not end in one of the end marks, or ends in `...`; a blank line does not."""
FEW_WORDS = 2
"""Flag of a line: fewer words than asked for; a blank line has none."""
JAVASCRIPT = 4
"""Flag of a line: holds `javascript`, in any case of its letters."""
POLICY = 8
"""Flag of a line: holds one of POLICY_PHRASES, in any case of their letters."""

POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

_LOREM_IPSUM, _CURLY_BRACKET = 16, 32
_STOPS, _QUOTES, _WIDE_QUOTES, _PHRASES, _SCRIPTS, _CURLY, _NUM_SEEN = range(7)
"""Bitmaps of this module: `.!?`; `"`; where `”` begins; the first letter of what may be co(okies), po(licy), us(e) or
ip(sum), and of what may be ja(vascript); `{`."""
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
    text: TextBuffers, lines: Tokens, bitmaps: Bitmaps, *, min_words: int, end_marks: str, cut: CutLines | None = None
) -> LineVerdicts:
    """C4's verdict on each line and document.

    A sentence ends where a word ends in `.`, `!` or `?`, maybe with a closing `"` or `”` after it.

    Args:
        text: n documents.
        lines: `split_lines(text)`.
        bitmaps: `find_bitmaps(text)`.
        min_words: lines with fewer words are flagged FEW_WORDS.
        end_marks: characters that a line may end in.
        cut: lines that are judged by what is left of them, such as `without_citations(text, lines, …)`.
    """
    marks = read_only(np.array(sorted(map(ord, set(end_marks))), np.int32))
    flags, sentences, has_curly_bracket, has_lorem_ipsum = _judged(text, bitmaps, lines, min_words, marks)
    if cut is not None and len(cut.at):
        bits = find_bitmaps(cut.text)
        left = _judged(cut.text, bits, split_lines(cut.text, bits), min_words, marks)
        flags[cut.at], sentences[cut.at] = left[:2]
    counts = np.zeros((3, len(text.offsets) - 1), np.int64)
    _add_up(lines.rows, lines.flags, flags, sentences, counts)
    return LineVerdicts(
        flags=read_only(flags),
        line_count=counts[0],
        kept_line_count=counts[1],
        sentence_count=counts[2],
        has_curly_bracket=has_curly_bracket,
        has_lorem_ipsum=has_lorem_ipsum,
    )


def _judged(
    text: TextBuffers, bitmaps: Bitmaps, lines: Tokens, min_words: int, marks: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Flags and sentences of each line, and which documents hold a curly bracket, and `lorem ipsum`."""
    flags, sentences = np.empty(len(lines.starts), np.uint8), np.empty(len(lines.starts), np.int32)
    has_curly_bracket, has_lorem_ipsum = np.zeros((2, len(text.offsets) - 1), np.bool_)
    data, origin, seen = (
        read_only(text.data),
        int(text.offsets[0]),
        np.zeros((_NUM_SEEN, len(bitmaps.space)), np.uint64),
    )
    whole, end = last_block(text)
    _look(data, origin, 0, whole, seen)
    _look(end, -whole * BLOCK, whole, whole + 1, seen)
    _judge(
        data, origin, bitmaps.space, seen, lines.rows, lines.starts, lines.ends, marks, min_words, flags, sentences,
        has_curly_bracket, has_lorem_ipsum,
    )  # fmt: skip
    return flags, sentences, has_curly_bracket, has_lorem_ipsum


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
    """What ends in the word at `start` of the line `data[first:end]`: POLICY, _LOREM_IPSUM or 0."""
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
def _ends_line(data: Any, start: Any, end: Any, marks: Any) -> Any:
    """Whether the stripped line `data[start:end]` ends in an end mark, and not in three dots."""
    point, _ = decode(data, before(data, end))
    for mark in marks:
        if point == mark:
            dots = point == 0x2E and end - start >= 3 and data[end - 2] == 0x2E and data[end - 3] == 0x2E
            return not dots
    return False


@njit(cache=True, nogil=True)
def _look(data: Any, first: Any, block: Any, stop: Any, seen: Any) -> None:
    """Fills blocks of `seen` (bitmaps, by the places _STOPS and so on); the first is of `data[first + 64 * block:]`.

    The last byte of a block may begin a phrase if its own letter fits: what follows is not seen.
    """
    one, fold = np.uint64(1), np.uint8(0x20)
    last = one << np.uint64(BLOCK - 1)
    for j in range(block, stop):
        at = first + BLOCK * j
        seen[_STOPS, j] = (
            equal(data, at, np.uint8(0x2E)) | equal(data, at, np.uint8(0x21)) | equal(data, at, np.uint8(0x3F))
        )
        seen[_QUOTES, j] = equal(data, at, np.uint8(0x22))
        seen[_CURLY, j] = equal(data, at, np.uint8(0x7B))
        leads = equal(data, at, np.uint8(0xE2))
        while leads:
            k = lowest_bit(leads)
            if data[at + k + 1] == 0x80 and data[at + k + 2] == 0x9D:
                seen[_WIDE_QUOTES, j] |= one << np.uint64(k)
            leads &= leads - one
        o = between(data, at, np.uint8(0x6F), np.uint8(1), fold) >> one | last
        p = between(data, at, np.uint8(0x70), np.uint8(1), fold)
        s = between(data, at, np.uint8(0x73), np.uint8(1), fold) >> one | last
        phrases = (between(data, at, np.uint8(0x63), np.uint8(1), fold) | p) & o
        phrases |= between(data, at, np.uint8(0x75), np.uint8(1), fold) & s
        seen[_PHRASES, j] = phrases | between(data, at, np.uint8(0x69), np.uint8(1), fold) & (p >> one | last)
        seen[_SCRIPTS, j] = between(data, at, np.uint8(0x6A), np.uint8(1), fold) & (
            between(data, at, np.uint8(0x61), np.uint8(1), fold) >> one | last
        )


@njit(cache=True, nogil=True)
def _judge_line(data: Any, origin: Any, space: Any, seen: Any, start: Any, stop: Any) -> Any:
    """Of the line from `start` to `stop`, counted as in `Bitmaps`: words, sentences, where its last character that is
    no white space begins, and flags JAVASCRIPT, POLICY, _LOREM_IPSUM and _CURLY_BRACKET.

    What goes on from one block to the next: whether the last byte was white space; the bits behind `.!?`, and behind a
    closing quotation mark right after one of these.
    """
    words = sentences = np.int64(0)
    flag = np.uint8(0)
    one, top = np.uint64(1), np.uint64(BLOCK - 1)
    blank, behind = one, np.uint64(0)
    mark = np.uint64(0)
    last = np.int64(-1)
    for block in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
        inside = bits_between(block, start, stop)
        spaces = space[block] | ~inside
        begins = ~spaces & (spaces << one | blank)
        blank = spaces >> top
        words += count_bits(begins)
        if ~spaces:
            last = BLOCK * block + highest_bit(~spaces)
        stops = seen[_STOPS, block] & inside
        after = stops << one | mark
        quotes, wide = seen[_QUOTES, block] & inside & after, seen[_WIDE_QUOTES, block] & inside & after
        after |= quotes << one | wide << np.uint64(3) | behind
        sentences += count_bits(spaces & inside & after)
        mark, behind = stops >> top, quotes >> top | wide >> np.uint64(BLOCK - 3)
        if stop < BLOCK * (block + 1):
            sentences += np.int64(after >> np.uint64(stop - BLOCK * block) & one)
        elif stop == BLOCK * (block + 1):
            sentences += np.int64((mark | behind) & one)
        phrases = begins & seen[_PHRASES, block]
        while phrases:
            at = origin + BLOCK * block + lowest_bit(phrases)
            phrases &= phrases - one
            flag |= np.uint8(_phrase(data, origin + start, at, origin + stop))
        scripts = seen[_SCRIPTS, block] & inside
        while scripts:
            at = origin + BLOCK * block + lowest_bit(scripts)
            scripts &= scripts - one
            if spells(data, at, origin + stop, _JAVASCRIPT):
                flag |= np.uint8(JAVASCRIPT)
        if seen[_CURLY, block] & inside:
            flag |= np.uint8(_CURLY_BRACKET)
    return words, sentences, last, flag


@njit(cache=True, nogil=True)
def _judge(
    data: Any, origin: Any, space: Any, seen: Any, rows: Any, starts: Any, ends: Any, marks: Any, min_words: Any,
    flags: Any, sentences: Any, has_curly_bracket: Any, has_lorem_ipsum: Any,
) -> None:  # fmt: skip
    for row in range(len(rows) - 1):
        found = np.uint8(0)
        for line in range(rows[row], rows[row + 1]):
            start, stop = np.int64(starts[line]), np.int64(ends[line])
            words, sentences[line], last, flag = _judge_line(data, origin, space, seen, start - origin, stop - origin)
            found |= flag
            flag &= np.uint8(JAVASCRIPT | POLICY)
            if words < min_words:
                flag |= np.uint8(FEW_WORDS)
            if words == 0 or not _ends_line(data, start, origin + last + 1, marks):
                flag |= np.uint8(NO_END)
            flags[line] = flag
        has_curly_bracket[row], has_lorem_ipsum[row] = found & _CURLY_BRACKET != 0, found & _LOREM_IPSUM != 0


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
    judge_lines(ONE_TEXT, ONE_TOKEN, find_bitmaps(ONE_TEXT), min_words=5, end_marks=".")
