"""What C4's rules say of each line and document, in one pass over the bytes of lines.

Eight bytes at a time: in the bytes of a uint64, words are counted where one begins, sentences where blanks follow a
mark, and phrases are looked for where a word begins with their first two letters, or a `j` stands. Where some byte may
begin white space that is not ASCII, or is a control character, characters are read one by one. Cost: ~2 ns a byte on
top of the line table.
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
section 2.2 (the final version: 5 words a line, 3 sentences a page); the arithmetic on eight bytes at once is that of
Warren, "Hacker's Delight", chapter 6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.citations import CutLines
from dolma_pipeline.kernels.hashing import load8
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import CASE, LOW7, TOPS, count_tops, each, zeros
from dolma_pipeline.kernels.lines import BLANK, split_lines
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import SPACE, before, class_table, decode

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
_BLANKS, _QUOTES, _STOPS, _BANGS, _ASKS = (each(byte) for byte in b' ".!?')
_CS, _IS, _JS, _OS, _PS, _SS, _US = (each(byte) for byte in b"cijopsu")
_FROM_20 = each(0x60)  # added to a byte below 0x80, sets its top bit from 0x20 on
# First bytes of white space that is not ASCII, and of `”`: C2 and E0 to E3, among others.
_SPACE_LEADS = tuple(each(byte) for byte in (0x42, 0x61, 0x62, 0x63))
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
    text: TextBuffers, lines: Tokens, *, min_words: int, end_marks: str, cut: CutLines | None = None
) -> LineVerdicts:
    """C4's verdict on each line and document.

    A sentence ends where a word ends in `.`, `!` or `?`, maybe with a closing `"` or `”` after it.

    Args:
        text: n documents.
        lines: `split_lines(text)`.
        min_words: lines with fewer words are flagged FEW_WORDS.
        end_marks: characters that a line may end in.
        cut: lines that are judged by what is left of them, such as `without_citations(text, lines, …)`.
    """
    marks = read_only(np.array(sorted(map(ord, set(end_marks))), np.int32))
    flags, sentences, has_lorem_ipsum = _judged(text, lines, min_words, marks)
    if cut is not None and len(cut.at):
        flags[cut.at], sentences[cut.at], _ = _judged(cut.text, split_lines(cut.text), min_words, marks)
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
    text: TextBuffers, lines: Tokens, min_words: int, marks: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    """Flags and sentences of each line, and which documents hold `lorem ipsum`."""
    flags, sentences = np.empty(len(lines.starts), np.uint8), np.empty(len(lines.starts), np.int32)
    has_lorem_ipsum = np.zeros(len(text.offsets) - 1, np.bool_)
    _judge(
        read_only(text.data), class_table(), lines.rows, lines.starts, lines.ends, marks, min_words, flags, sentences,
        has_lorem_ipsum,
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
def _phrase_at(data: Any, first: Any, start: Any, end: Any) -> Any:
    """As `_phrase`, after a look at two letters: few words begin with co(okies), po(licy), us(e) or ip(sum)."""
    if end - start < 3:
        return 0
    a, b = data[start] | 0x20, data[start + 1] | 0x20
    if ((a == 0x63 or a == 0x70) and b == 0x6F) or (a == 0x75 and b == 0x73) or (a == 0x69 and b == 0x70):
        return _phrase(data, first, start, end)
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
def _stripped_end(data: Any, classes: Any, start: Any, end: Any) -> Any:
    """Where `data[start:end].rstrip()` ends."""
    while start < end:
        last = before(data, end)
        if not classes[decode(data, last)[0]] & SPACE:
            break
        end = last
    return end


@njit(cache=True, nogil=True)
def _same(low: Any, high: Any, pattern: Any) -> Any:
    """The top bit of each byte that is the pattern's ASCII character; `low` are the bytes' 7 bits, `high` their top."""
    return zeros(low ^ pattern) & ~high


@njit(cache=True, nogil=True)
def _phrase_begins(low: Any, high: Any) -> Any:
    """The top bit of each byte that may be the first of co(okies), po(licy), us(e) or ip(sum), as `low` in lower case.

    The last of the eight may be if its own letter fits: what follows is not seen.
    """
    eight, last = np.uint64(8), np.uint64(0x80 << 56)
    p = _same(low, high, _PS)
    o, s = _same(low, high, _OS) >> eight | last, _same(low, high, _SS) >> eight | last
    return (_same(low, high, _CS) | p) & o | _same(low, high, _US) & s | _same(low, high, _IS) & (p >> eight | last)


@njit(cache=True, nogil=True)
def _must_be_read(low: Any, high: Any) -> Any:
    """Whether a byte is a control character, or may begin white space that is not ASCII, or `”`."""
    odd = ~(low + _FROM_20) & ~high & TOPS
    if high & TOPS:
        for lead in _SPACE_LEADS:
            odd |= zeros(low ^ lead) & high
    return odd != 0


@njit(cache=True, nogil=True)
def _judge_line(data: Any, classes: Any, first: Any, stop: Any) -> Any:
    """Words, sentences, and the flags JAVASCRIPT, POLICY and _LOREM_IPSUM of the line `data[first:stop]`.

    What goes on from one block of bytes to the next, as 0 or 1 in the lowest byte's top bit: whether the last character
    was none of white space, one of `.!?`, a closing quotation mark right after one of these.
    """
    words = sentences = np.int64(0)
    flag = np.uint8(0)
    no_space = mark = quoted = np.uint64(0)
    one = np.uint64(0x80)
    eight, most = np.uint64(8), np.uint64(56)
    i = first
    while i < stop:
        if i + 8 <= stop:
            x = load8(data, i)
            low, high = x & LOW7, x & TOPS
            if not _must_be_read(low, high):
                spaces = _same(low, high, _BLANKS)
                others = ~spaces & TOPS
                begins = others & ~(others << eight | no_space)
                stops = _same(low, high, _STOPS) | _same(low, high, _BANGS) | _same(low, high, _ASKS)
                after_mark = stops << eight | mark
                closes = _same(low, high, _QUOTES) & after_mark
                sentences += count_tops(spaces & (after_mark | closes << eight | quoted))
                words += count_tops(begins)
                no_space, mark, quoted = others >> most, stops >> most, closes >> most
                begins &= _phrase_begins(low | CASE, high)
                while begins:
                    lowest = begins & (~begins + np.uint64(1))
                    at = i + count_tops((lowest - np.uint64(1)) & TOPS)
                    begins ^= lowest
                    flag |= np.uint8(_phrase_at(data, first, at, stop))
                if _same(low | CASE, high, _JS):
                    for at in range(i, i + 8):
                        if spells(data, at, stop, _JAVASCRIPT):
                            flag |= np.uint8(JAVASCRIPT)
                i += 8
                continue
        until = min(i + 8, stop)
        while i < until and data[i] & 0xC0 == 0x80:  # the rest of a character that began in the last eight bytes
            i += 1
        while i < until:
            point, size = decode(data, i)
            if classes[point] & SPACE:
                sentences += np.int64(mark != 0 or quoted != 0)
                no_space = mark = quoted = np.uint64(0)
            else:
                if no_space == 0:
                    words += 1
                    flag |= np.uint8(_phrase_at(data, first, i, stop))
                if point | 0x20 == 0x6A and spells(data, i, stop, _JAVASCRIPT):
                    flag |= np.uint8(JAVASCRIPT)
                quoted = mark if point == 0x22 or point == 0x201D else np.uint64(0)
                mark = one if point == 0x2E or point == 0x21 or point == 0x3F else np.uint64(0)
                no_space = one
            i += size
    return words, sentences + np.int64(mark != 0 or quoted != 0), flag


@njit(cache=True, nogil=True)
def _judge(
    data: Any, classes: Any, rows: Any, starts: Any, ends: Any, marks: Any, min_words: Any, flags: Any, sentences: Any,
    has_lorem_ipsum: Any,
) -> None:  # fmt: skip
    for row in range(len(rows) - 1):
        for line in range(rows[row], rows[row + 1]):
            start, stop = np.int64(starts[line]), np.int64(ends[line])
            words, sentences[line], flag = _judge_line(data, classes, start, stop)
            if flag & _LOREM_IPSUM:
                has_lorem_ipsum[row] = True
                flag ^= np.uint8(_LOREM_IPSUM)
            if words < min_words:
                flag |= np.uint8(FEW_WORDS)
            if words == 0 or not _ends_line(data, start, _stripped_end(data, classes, start, stop), marks):
                flag |= np.uint8(NO_END)
            flags[line] = flag


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
    judge_lines(ONE_TEXT, ONE_TOKEN, min_words=5, end_marks=".")
