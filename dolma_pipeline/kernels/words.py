"""Words of a text as `str.split()` gives them, with what taggers ask of each word, in one pass.

Flags of a word: ALPHA, HASH, ELLIPSIS, LINE_START, and in the upper four bits 1 + its place in STOP_WORDS (0: none
of them). A stop word counts in either case and with anything around it that is not a word character: `The`, `(that,`
and `"with` are ones, `then` and `re-to` are not.
Cost: ~8 ns a word on top of the bitmaps of its batch (`kernels.bitmaps`), which say where words begin and end and what
their characters are; 22 bytes a word.
Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
section A.1.1 (the eight stop words, words with a letter, hash symbols and ellipses).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.bitmaps import ALL, bits_between, find_bitmaps
from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, hash_bytes, load8, load_part, mix
from dolma_pipeline.kernels.intrinsics import BLOCK, count_bits, highest_bit, lowest_bit
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import CASE
from dolma_pipeline.kernels.tables import ONE_TEXT, Bitmaps, TextBuffers, Tokens, empty_tokens, read_only, sealed_tokens

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

_WINDOW = 56
"""Bits that one read of a bitmap gives, from any place on."""


def split_words(text: TextBuffers, bitmaps: Bitmaps | None = None) -> Tokens:
    """The words of each document: exactly `text.split()`; flags as in this module's head.

    Args:
        text: n documents. bitmaps: `find_bitmaps(text)`, where they are there.
    """
    bits = bitmaps or find_bitmaps(text)
    offsets, data = read_only(text.offsets), read_only(text.data)
    arrays = empty_tokens(len(offsets) - 1, _count_words(offsets, bits.space))
    _find(offsets, bits.space, bits.newline, *(arrays[name] for name in ("rows", "starts", "ends", "flags")))
    _split(
        int(offsets[0]), data, *(part.view(np.uint8) for part in (bits.letter, bits.word, bits.more, bits.odd)),
        *(arrays[name] for name in ("starts", "ends", "hashes", "chars", "flags")),
    )  # fmt: skip
    return sealed_tokens(arrays, len(arrays["starts"]))


@njit(cache=True, nogil=True)
def _count_words(offsets: Any, space: Any) -> Any:
    """How many words all documents have."""
    count, origin = np.int64(0), np.int64(offsets[0])
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]) - origin, np.int64(offsets[row + 1]) - origin
        last = np.uint64(1)  # whether the last byte was white space, as is what lies outside
        for block in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
            spaces = space[block] | ~bits_between(block, start, stop)
            count += count_bits(~spaces & (spaces << np.uint64(1) | last))
            last = spaces >> np.uint64(BLOCK - 1)
    return count


@njit(cache=True, nogil=True)
def _find(offsets: Any, space: Any, newline: Any, rows: Any, starts: Any, ends: Any, flags: Any) -> None:
    """Where words begin and end, and which of them begin lines.

    Added to the bits of white space, a bit in a run of them is carried to the bit behind the run: so a newline, or the
    beginning of a text, gets to the word that it is before.
    """
    w = e = np.int64(0)
    one = np.uint64(1)
    origin = np.int64(offsets[0])
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]) - origin, np.int64(offsets[row + 1]) - origin
        last = opened = one  # whether the last byte was white space, and a newline came after the last word
        for block in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
            spaces, at = space[block] | ~bits_between(block, start, stop), origin + BLOCK * block
            carried = spaces + (newline[block] & spaces)
            more = carried + opened
            opened = np.uint64((carried < spaces) | (more < carried))
            before = spaces << one | last
            last = spaces >> np.uint64(BLOCK - 1)
            begins, closes = ~spaces & before, spaces & ~before
            while begins:
                k = lowest_bit(begins)
                starts[w] = at + k
                flags[w] = np.uint8(more >> np.uint64(k) & one) * np.uint8(LINE_START)
                begins &= begins - one
                w += 1
            while closes:
                ends[e] = at + lowest_bit(closes)
                closes &= closes - one
                e += 1
        if e < w:
            ends[e] = origin + stop
            e += 1
        rows[row + 1] = w


@njit(cache=True, nogil=True)
def _stop_place(letters: Any) -> Any:
    """1 + the place in STOP_WORDS of a word of up to 8 bytes, given as a little-endian number, 0 if it is not one."""
    letters |= CASE  # only A-Z become a-z; bytes that are not there become blanks
    slot = np.uint32(np.uint32(letters) * np.uint32(_SLOT_FACTOR)) >> np.uint32(29)
    return _SLOT_PLACES[slot] if letters == _SLOT_WORDS[slot] else np.uint8(0)


@njit(cache=True, nogil=True)
def is_ellipsis(a: Any, b: Any, c: Any) -> Any:
    """Whether three bytes are `...` or `…`."""
    return (a == 0x2E and b == 0x2E and c == 0x2E) or (a == 0xE2 and b == 0x80 and c == 0xA6)


@njit(cache=True, nogil=True)
def _signs(data: Any, start: Any, end: Any) -> Any:
    """Flags HASH and ELLIPSIS of a word."""
    flag = np.uint8(0)
    for i in range(start, end):
        if data[i] == 0x23:
            flag |= np.uint8(HASH)
        elif i + 3 <= end and is_ellipsis(data[i], data[i + 1], data[i + 2]):
            flag |= np.uint8(ELLIPSIS)
    return flag


@njit(cache=True, nogil=True, inline="always")
def _window(bits: Any, at: Any, count: Any) -> Any:
    """Bits `at` to `at + count - 1` of a bitmap, given as bytes; count is at most _WINDOW, and not 0."""
    return load8(bits, at >> 3) >> np.uint64(at & 7) & ALL >> np.uint64(64 - count)


@njit(cache=True, nogil=True)
def _of_long_word(data: Any, letter: Any, word: Any, more: Any, odd: Any, first: Any, start: Any, end: Any) -> Any:
    """Flags, but for LINE_START, and code points of a word of more than _WINDOW bytes."""
    letters = signs = np.uint64(0)
    inner_first, inner_last = np.int64(-1), np.int64(-1)
    continued = np.int64(0)
    at = start
    while at < end:
        count, place = min(np.int64(_WINDOW), end - at), at - first
        letters |= _window(letter, place, count)
        signs |= _window(odd, place, count)
        continued += count_bits(_window(more, place, count))
        inner = _window(word, place, count)
        if inner:
            if inner_first < 0:
                inner_first = at + lowest_bit(inner)
            inner_last = at + highest_bit(inner)
        at += count
    flag = np.uint8(ALPHA) if letters else np.uint8(0)
    if signs:
        flag |= _signs(data, start, end)
    if 1 <= inner_last - inner_first <= 3:
        flag |= _stop_flag(data, more, first, inner_first, inner_last)
    return flag, end - start - continued


@njit(cache=True, nogil=True)
def _stop_flag(data: Any, more: Any, first: Any, start: Any, last: Any) -> Any:
    """The flag of a stop word that stands from one character to another (whose first byte is at `last`), or 0."""
    size = last - start + 1
    if _window(more, start - first, size + 1):
        return np.uint8(0)  # one of its characters is not ASCII
    return np.uint8(_stop_place(load_part(data, start, size)) << STOP_SHIFT)


@njit(cache=True, nogil=True)
def _split(
    first: Any, data: Any, letter: Any, word: Any, more: Any, odd: Any, starts: Any, ends: Any, hashes: Any,
    chars: Any, flags: Any,
) -> None:  # fmt: skip
    """Fills in what a table says of a word besides where it stands. first: the byte that bitmaps begin with."""
    for w in range(len(starts)):
        start, end = np.int64(starts[w]), np.int64(ends[w])
        n, at = end - start, start - first
        if n > _WINDOW:
            hashes[w] = hash_bytes(data, start, end)
            flag, chars[w] = _of_long_word(data, letter, word, more, odd, first, start, end)
            flags[w] |= flag
            continue
        continued, inner = _window(more, at, n), _window(word, at, n)
        flag = np.uint8(_window(letter, at, n) != 0) * np.uint8(ALPHA)
        chars[w] = n - count_bits(continued)
        if n < 8:
            part = load_part(data, start, n)
            hashes[w] = mix(part + np.uint64(n) * LENGTH_FACTOR)
            if not continued:  # a stop word without a branch: which words are one cannot be foretold
                low = lowest_bit(inner | np.uint64(0x80))
                core = part & ALL >> np.uint64(63 - max(8 * highest_bit(inner) + 7, 0))
                flag |= np.uint8(_stop_place(core >> np.uint64(8 * low & 63)) << STOP_SHIFT)
        else:
            hashes[w] = hash_bytes(data, start, end)
        if n >= 8 or continued:
            low, high = lowest_bit(inner), highest_bit(inner)
            if 1 <= high - low <= 3:
                flag |= _stop_flag(data, more, first, start + low, start + high)
        if _window(odd, at, n):
            flag |= _signs(data, start, end)
        flags[w] |= flag


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    split_words(ONE_TEXT)
