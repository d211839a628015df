"""Words of a text as `str.split()` gives them, with what taggers ask of each word, in one pass.

Flags of a word: ALPHA, HASH, ELLIPSIS, LINE_START, and in the upper four bits 1 + its place in STOP_WORDS (0: none
of them). A stop word counts in either case and with anything around it that is not a word character: `The`, `(that,`
and `"with` are ones, `then` and `re-to` are not. Cost: 22 bytes a word; 200 MB of text a second in many languages,
300 in English, 400 in code (one core, Xeon 2.6 GHz, on which counting blanks runs at 1,050): ASCII is classified
eight bytes at a time, in the bytes of a uint64; any other character is looked up in the class table.
Sources: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
section A.1.1 (the eight stop words, words with a letter, hash symbols and ellipses); the arithmetic on eight
bytes at once is that of Warren, "Hacker's Delight", chapter 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, hash_bytes, load8, load_part, mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import CASE, LOW7, ONES, TOPS, count_tops, each, zeros
from dolma_pipeline.kernels.tables import (
    ONE_TEXT,
    TextBuffers,
    Tokens,
    empty_tokens,
    grown_tokens,
    read_only,
    sealed_tokens,
)
from dolma_pipeline.kernels.unicode import ALPHA as ALPHA_CLASS
from dolma_pipeline.kernels.unicode import SPACE, WORD, before, class_table, decode

ALPHA = 1
"""Flag of a word: one of its characters is `str.isalpha`."""
HASH = 2
"""Flag of a word: holds a `#`."""
ELLIPSIS = 4
"""Flag of a word: holds `...` or `…`."""
LINE_START = 8
"""Flag of a word: the first of its line, a line being a piece of `text.split("\\n")`."""
STOP_SHIFT = 4
"""`flags >> STOP_SHIFT` is 1 + the word's place in STOP_WORDS, 0 for any other word."""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# A stop word, padded with blanks to 4 bytes, as a little-endian number, times this factor, modulo 2^32: its upper
# 3 bits differ for all eight.
_SLOT_FACTOR = 0xD66B829F
_SLOT_WORDS, _SLOT_PLACES = np.zeros(8, np.uint64), np.zeros(8, np.uint8)
for _place, _word in enumerate(STOP_WORDS, 1):
    _number = int.from_bytes(_word.encode().ljust(8), "little")
    _slot = (_number * _SLOT_FACTOR & 0xFFFFFFFF) >> 29
    _SLOT_WORDS[_slot], _SLOT_PLACES[_slot] = _number, _place

_NEWLINE = 0x0A
_UNDERSCORE, _HASHES, _DOTS = each(0x5F), each(0x23), each(0x2E)
# Added to a byte below 0x80, each of these sets its top bit if the byte is at least the one in the name.
_FROM_21, _FROM_0, _AFTER_9 = each(0x5F), each(0x50), each(0x46)
_FROM_A, _AFTER_Z = each(0x1F), each(0x05)


def split_words(text: TextBuffers) -> Tokens:
    """The words of each document: exactly `text.split()`; flags as in this module's head."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    num_rows = len(offsets) - 1
    arrays = empty_tokens(num_rows, (int(offsets[-1]) - int(offsets[0])) // 5)
    row = 0
    while row < num_rows:  # stops before a document that might not fit
        row = _split(offsets, data, class_table(), row, *arrays.values())
        if row < num_rows:
            most = (int(offsets[row + 1]) - int(offsets[row])) // 2 + 1
            arrays = grown_tokens(arrays, int(arrays["rows"][row]), most)
    return sealed_tokens(arrays, int(arrays["rows"][num_rows]))


@njit(cache=True, nogil=True)
def _stop_place(letters: Any) -> Any:
    """1 + the place in STOP_WORDS of a word of up to 8 bytes, given as a little-endian number, 0 if it is not one."""
    letters |= CASE  # only A-Z become a-z; bytes that are not there become blanks
    slot = np.uint32(np.uint32(letters) * np.uint32(_SLOT_FACTOR)) >> np.uint32(29)
    return _SLOT_PLACES[slot] if letters == _SLOT_WORDS[slot] else np.uint8(0)


@njit(cache=True, nogil=True)
def _letters(part: Any) -> Any:
    """The top bit of each byte of `part` that is an ASCII letter; bytes must be below 0x80."""
    lower = part | CASE
    return (lower + _FROM_A) & ~(lower + _AFTER_Z) & TOPS


@njit(cache=True, nogil=True)
def _numbers(part: Any) -> Any:
    """The top bit of each byte of `part` that is an ASCII digit or an underscore; bytes must be below 0x80."""
    return (part + _FROM_0) & ~(part + _AFTER_9) & TOPS | zeros(part ^ _UNDERSCORE)


@njit(cache=True, nogil=True)
def _short_flags(part: Any) -> Any:
    """Flags of an ASCII word of 1 to 7 bytes, given as a little-endian number."""
    letters = _letters(part)
    inner = letters | _numbers(part)
    flag = np.uint8(letters != 0) * np.uint8(ALPHA) | np.uint8(zeros(part ^ _HASHES) != 0) * np.uint8(HASH)
    dots = zeros(part ^ _DOTS)
    flag |= np.uint8(dots & (dots >> np.uint64(8)) & (dots >> np.uint64(16)) != 0) * np.uint8(ELLIPSIS)
    # Strip what is not a word character: shift out what stands before the first one, clear what follows the last.
    leading = ((inner & (~inner + np.uint64(1))) >> np.uint64(7)) - np.uint64(1) if inner else np.uint64(0)
    inner |= inner >> np.uint64(8)
    inner |= inner >> np.uint64(16)
    inner |= inner >> np.uint64(32)
    core = (part & ((inner >> np.uint64(7)) * np.uint64(0xFF))) >> (_count_bytes(leading) << np.uint64(3))
    return flag | np.uint8(_stop_place(core) << STOP_SHIFT)


@njit(cache=True, nogil=True)
def _count_bytes(mask: Any) -> Any:
    """How many low bytes of a uint64 a mask of whole bytes covers (at most 7)."""
    return ((mask & ONES) * ONES) >> np.uint64(56)


@njit(cache=True, nogil=True)
def is_ellipsis(a: Any, b: Any, c: Any) -> Any:
    """Whether three bytes are `...` or `…`."""
    return (a == 0x2E and b == 0x2E and c == 0x2E) or (a == 0xE2 and b == 0x80 and c == 0xA6)


@njit(cache=True, nogil=True)
def _look_closely(data: Any, classes: Any, start: Any, end: Any) -> Any:
    """Flags HASH, ELLIPSIS and the stop word of any word, a character at a time."""
    flag = np.uint8(0)
    for i in range(start, end):
        if data[i] == 0x23:
            flag |= np.uint8(HASH)
        elif i + 3 <= end and is_ellipsis(data[i], data[i + 1], data[i + 2]):
            flag |= np.uint8(ELLIPSIS)
    while start < end:
        point, size = decode(data, start)
        if classes[point] & WORD:
            break
        start += size
    while start < end:
        last = before(data, end)
        if classes[decode(data, last)[0]] & WORD:
            break
        end = last
    if 2 <= end - start <= 4:
        flag |= np.uint8(_stop_place(load_part(data, start, end - start)) << STOP_SHIFT)
    return flag


@njit(cache=True, nogil=True)
def _split(
    offsets: Any, data: Any, classes: Any, row: Any, rows: Any, starts: Any, ends: Any, hashes: Any, chars: Any,
    flags: Any,
) -> Any:  # fmt: skip
    """Fills the table from document `row` on; returns the first document that might not fit, or their number."""
    w = rows[row]
    while row < len(offsets) - 1:
        i, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if w + (stop - i) // 2 + 1 > len(starts):
            return row
        opened = np.uint8(LINE_START)  # LINE_START if a newline came after the last word
        while i < stop:
            if data[i] == 0x20:
                i += 1
                continue
            start = i
            if i + 8 <= stop:  # an ASCII word of up to 7 bytes and the space after it, without a loop
                x = load8(data, i)
                ending = (~((x & LOW7) + _FROM_21) | x) & TOPS  # bytes below 0x21 and above 0x7F
                inside = ((ending & (~ending + np.uint64(1))) >> np.uint64(7)) - np.uint64(1)
                n = np.int64(_count_bytes(inside))
                if ending != 0 and n > 0 and data[i + n] < 0x80 and classes[data[i + n]] & SPACE:
                    part = x & inside
                    starts[w], ends[w] = i, i + n
                    hashes[w] = mix(part + np.uint64(n) * LENGTH_FACTOR)
                    chars[w] = n
                    flags[w] = _short_flags(part) | opened
                    opened = np.uint8(LINE_START) if data[i + n] == _NEWLINE else np.uint8(0)
                    w += 1
                    i += n + 1
                    continue
            h = np.uint64(0)  # as `hash_bytes`, while `whole`: no character of the word was looked up
            whole = True
            letters = np.uint64(0)  # not 0: some character is a letter
            continued = num_inner = num_dots = np.int64(0)  # bytes that continue a character; \w; dots
            odd = np.uint64(0)  # not 0: some character is # or an ellipsis
            while i < stop:
                if i + 8 <= stop:
                    x = load8(data, i)
                    ending = (~((x & LOW7) + _FROM_21) | x) & TOPS
                    inside = ((ending & (~ending + np.uint64(1))) >> np.uint64(7)) - np.uint64(1)
                    part = x & inside
                    alpha = _letters(part)
                    letters |= alpha
                    odd |= zeros(part ^ _HASHES)
                    num_inner += count_tops(alpha | _numbers(part))
                    num_dots += count_tops(zeros(part ^ _DOTS))
                    if ending == 0:
                        h = mix(h ^ x)
                        i += 8
                        continue
                    h ^= part
                    i += np.int64(_count_bytes(inside))
                else:
                    whole = False
                point, size = decode(data, i)
                kind = classes[point]
                if kind & SPACE:
                    break
                whole = False
                letters |= np.uint64(kind & ALPHA_CLASS)
                num_inner += np.int64(kind & WORD != 0)
                num_dots += np.int64(point == 0x2E)
                odd |= np.uint64((point == 0x23) | (point == 0x2026))
                continued += size - 1
                i += size
            n = i - start
            if n > 0:
                flag = (np.uint8(ALPHA) if letters else np.uint8(0)) | opened
                opened = np.uint8(0)
                if odd or num_inner <= 4 or num_dots >= 3:
                    flag |= _look_closely(data, classes, start, i)
                starts[w], ends[w] = start, i
                hashes[w] = mix(h + np.uint64(n) * LENGTH_FACTOR) if whole else hash_bytes(data, start, i)
                chars[w] = n - continued
                flags[w] = flag
                w += 1
            if i < stop:
                if data[i] == _NEWLINE:
                    opened = np.uint8(LINE_START)
                i += decode(data, i)[1]
        row += 1
        rows[row] = w
    return row


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    split_words(ONE_TEXT)
