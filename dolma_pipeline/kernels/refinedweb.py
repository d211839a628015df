"""What RefinedWeb's corrections say of each line: capitals, numbers, counters, single words, phrases of menus.

Cost: ~3 ns a character on top of the word and line tables: each is read once (one core, Xeon 2.6 GHz).
Source: Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM", appendix G.2, with the numbers of the pipeline of
Li et al. 2024, "DataComp-LM" (DCLM-Baseline).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.c4 import spells
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.kinds import KINDS
from dolma_pipeline.kernels.lines import BLANK
from dolma_pipeline.kernels.scripts import group_kinds, group_table
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import SPACE, WORD, class_table, decode

CAPITALS = 1
"""Flag of a line: more than half of its characters are capital letters."""
NUMBERS = 2
"""Flag of a line: nothing but digits."""
COUNTER = 4
"""Flag of a line: a number, maybe with K, M or B, and one of COUNTED; nothing else but punctuation and blanks."""
ONE_WORD = 8
"""Flag of a line: one word."""

COUNTED = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
    "views", "followers",
)  # fmt: skip
PHRASES = ("sign-in", "items in cart", "read more...")
"""Phrases of menus, in any case of their letters: where a line starts, anywhere in it, where it ends."""
MOST_WORDS = 10
"""Phrases are looked for in lines of at most so many words."""

_COUNTED = tuple(np.frombuffer(word.encode(), np.uint8) for word in COUNTED)
_FIRST, _ANYWHERE, _LAST = (np.frombuffer(phrase.encode(), np.uint8) for phrase in PHRASES)


class LineFlags(NamedTuple):
    """Of L lines and n documents. flags: uint8[L], bits of this module. phrases: int32[3, L], the byte at which each of
    PHRASES starts in the line, -1: not there. removed_words: int64[n], words of flagged lines, and those that lie in
    phrases of other lines.
    """

    flags: NDArray[np.uint8]
    phrases: NDArray[np.int32]
    removed_words: NDArray[np.int64]


def flag_lines(text: TextBuffers, words: Tokens, lines: Tokens) -> LineFlags:
    """The verdict on each line; a blank line has no flag.

    Args:
        text: n documents. words: `split_words(text)`. lines: `split_lines(text)`.
    """
    flags = np.zeros(len(lines.starts), np.uint8)
    phrases = np.full((len(PHRASES), len(lines.starts)), -1, np.int32)
    removed = np.zeros(len(text.offsets) - 1, np.int64)
    kinds = group_kinds()
    upper, digit = (read_only(kinds[:, KINDS.index(kind)] != 0) for kind in ("upper", "digit"))
    _flag(
        read_only(text.data), class_table(), group_table(), upper, digit, words.rows, words.starts, words.ends,
        lines.rows, lines.starts, lines.ends, lines.chars, lines.flags, flags, phrases, removed,
    )  # fmt: skip
    return LineFlags(flags, phrases, removed)


@njit(cache=True, nogil=True)
def _skip(data: Any, classes: Any, start: Any, end: Any, bits: Any, wanted: Any) -> Any:
    """Behind the characters from `start` on that have one of `bits` (wanted), or none of them (not wanted)."""
    while start < end:
        point, size = decode(data, start)
        if (classes[point] & bits != 0) != wanted:
            break
        start += size
    return start


@njit(cache=True, nogil=True)
def _is_counter(data: Any, classes: Any, start: Any, end: Any) -> Any:
    i = _skip(data, classes, start, end, WORD, False)
    if i == end or not 0x30 <= data[i] <= 0x39:
        return False
    while i < end and (0x30 <= data[i] <= 0x39 or data[i] == 0x2C or data[i] == 0x2E):
        i += 1
    if i < end and (data[i] | 0x20 == 0x6B or data[i] | 0x20 == 0x6D or data[i] | 0x20 == 0x62):
        i += 1
    blank = _skip(data, classes, i, end, SPACE, True)
    if blank == i:
        return False
    for word in _COUNTED:
        if spells(data, blank, end, word):
            return _skip(data, classes, blank + len(word), end, WORD, False) == end
    return False


@njit(cache=True, nogil=True)
def _flag(
    data: Any, classes: Any, groups: Any, upper: Any, digit: Any, word_rows: Any, word_starts: Any, word_ends: Any,
    rows: Any, starts: Any, ends: Any, chars: Any, line_flags: Any, flags: Any, phrases: Any, removed: Any,
) -> None:  # fmt: skip
    for row in range(len(rows) - 1):
        w, last_word = word_rows[row], word_rows[row + 1]
        for line in range(rows[row], rows[row + 1]):
            if line_flags[line] & BLANK:
                continue
            start, end = np.int64(starts[line]), np.int64(ends[line])
            opened = w
            while w < last_word and word_ends[w] <= end:
                w += 1
            num_words = w - opened
            first, stop = np.int64(word_starts[opened]), np.int64(word_ends[w - 1])
            num_upper = num_digits = 0
            i = start
            while i < end:
                point, size = decode(data, i)
                group = groups[point]
                num_upper += upper[group]
                num_digits += digit[group]
                i += size
            flag = np.uint8(0)
            if 2 * num_upper > chars[line]:
                flag |= np.uint8(CAPITALS)
            if num_digits == chars[line]:
                flag |= np.uint8(NUMBERS)
            if num_words == 1:
                flag |= np.uint8(ONE_WORD)
            elif num_words <= MOST_WORDS and _is_counter(data, classes, start, end):
                flag |= np.uint8(COUNTER)
            flags[line] = flag
            if num_words <= MOST_WORDS:
                if spells(data, first, stop, _FIRST):
                    phrases[0, line] = first
                i = first
                while i + len(_ANYWHERE) <= stop and phrases[1, line] < 0:
                    if spells(data, i, stop, _ANYWHERE):
                        phrases[1, line] = i
                    i += 1
                if stop - first >= len(_LAST) and spells(data, stop - len(_LAST), stop, _LAST):
                    phrases[2, line] = stop - len(_LAST)
            if flag:
                removed[row] += num_words
            elif num_words <= MOST_WORDS:
                for k in range(3):
                    if phrases[k, line] >= 0:
                        size = len(_FIRST) if k == 0 else len(_ANYWHERE) if k == 1 else len(_LAST)
                        for inner in range(opened, w):
                            at = phrases[k, line]
                            removed[row] += word_starts[inner] >= at and word_ends[inner] <= at + size


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    flag_lines(ONE_TEXT, ONE_TOKEN, ONE_TOKEN)
