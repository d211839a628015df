"""What every code point is, as Python's own `str` and `re` see it, and how to read one from UTF-8.

`class_table()` is a byte a code point (1.1 MB), so that whitespace, letters and word characters follow
`str.split`, `str.isalpha` and `\\w` exactly: NBSP, U+2028, U+001C and all. It follows the Unicode version of the
running Python (`unicodedata.unidata_version`). Cost: ~40 ms a process on first use, then one lookup a character.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import load8
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import ONES
from dolma_pipeline.kernels.tables import read_only

SPACE = 1
"""Bit of `class_table`: `str.isspace`, where `str.split` cuts."""
ALPHA = 2
"""Bit of `class_table`: `str.isalpha`."""
WORD = 4
"""Bit of `class_table`: matches `\\w` (letters, numbers, underscore)."""

NUM_CODE_POINTS = 0x110000

UNSPACED_BLOCKS = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3000, 0x303F),  # CJK Symbols and Punctuation: the iteration mark, zero, Hangzhou numerals
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana Phonetic Extensions
    (0x3400, 0x4DBF),  # CJK Extension A
    (0x4E00, 0x9FFF),  # CJK Unified Ideographs
    (0xA9E0, 0xA9FF),  # Myanmar Extended-B
    (0xAA60, 0xAA7F),  # Myanmar Extended-A
    (0xF900, 0xFAFF),  # CJK Compatibility Ideographs
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x116D0, 0x116FF),  # Myanmar Extended-C
    (0x16FE2, 0x16FE3),  # Old Chinese marks
    (0x1AFF0, 0x1AFFF),  # Kana Extended-B
    (0x1B000, 0x1B16F),  # Kana Supplement, Kana Extended-A, Small Kana Extension
    (0x20000, 0x3FFFF),  # CJK Extensions B and later
)
"""First and last code point of the blocks of Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar and Tibetan: scripts
that set no blanks between words. Hangul does, and is not among them."""


IDEOGRAPHIC_PLANES = 0x20000
"""From here on the blocks hold ideographs alone: letters, and what is not assigned (Unicode, section 2.8)."""

UNSPACED_LETTER = 1
"""Of `unspaced_table`: a letter (general category L or Nl) of UNSPACED_BLOCKS. Digits are not."""
UNSPACED_MARK = 2
"""Of `unspaced_table`: a combining mark (general category M) of UNSPACED_BLOCKS, such as a vowel sign or a tone."""


@lru_cache(maxsize=1)
def unspaced_table() -> NDArray[np.uint8]:
    """UNSPACED_LETTER, UNSPACED_MARK or 0 for each code point, uint8[0x110000], read-only."""
    table = np.zeros(NUM_CODE_POINTS, np.uint8)
    is_letter = class_table() & ALPHA != 0
    for first, last in UNSPACED_BLOCKS:
        block = slice(first, last + 1)
        table[block] = is_letter[block] * np.uint8(UNSPACED_LETTER)
        if first >= IDEOGRAPHIC_PLANES:
            continue
        for code_point in (np.flatnonzero(~is_letter[block]) + first).tolist():  # asked one by one: they are few
            category = unicodedata.category(chr(code_point))
            table[code_point] = UNSPACED_LETTER if category == "Nl" else UNSPACED_MARK * (category[0] == "M")
    return read_only(table)


@lru_cache(maxsize=1)
def class_table() -> NDArray[np.uint8]:
    """Bits SPACE, ALPHA and WORD of each code point, uint8[0x110000], read-only; surrogates have none."""
    table = np.zeros(NUM_CODE_POINTS, np.uint8)
    everything = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    for run in re.finditer(r"\s+", everything):
        table[run.start() : run.end()] |= SPACE
    for run in re.finditer(r"\w+", everything):  # letters are word characters: only these are asked one by one
        table[run.start() : run.end()] |= WORD
        letters = np.fromiter(map(str.isalpha, run[0]), np.bool_, len(run[0]))
        table[run.start() : run.end()] |= letters * np.uint8(ALPHA)
    return read_only(table)


@njit(cache=True, nogil=True)
def decode(data: Any, i: Any) -> Any:
    """The code point that starts at byte i of valid UTF-8, and how many bytes it takes (1 to 4)."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return (b & 0x1F) << 6 | np.int64(data[i + 1]) & 0x3F, 2
    if b < 0xF0:
        return (b & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | np.int64(data[i + 2]) & 0x3F, 3
    return (
        (b & 0x07) << 18
        | (np.int64(data[i + 1]) & 0x3F) << 12
        | (np.int64(data[i + 2]) & 0x3F) << 6
        | np.int64(data[i + 3]) & 0x3F
    ), 4


@njit(cache=True, nogil=True)
def before(data: Any, i: Any) -> Any:
    """First byte of the code point that ends before byte i of valid UTF-8; i is not the start of the text."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@njit(cache=True, nogil=True)
def count_code_points(data: Any, start: Any, end: Any) -> Any:
    """Code points of `data[start:end]`: its bytes that continue no other. Cost: ~4 GB/s."""
    i, count = np.int64(start), np.int64(end - start)
    while i + 8 <= end:
        x = load8(data, i)
        continuing = (x >> np.uint64(7)) & ~(x >> np.uint64(6)) & ONES
        count -= np.int64((continuing * ONES) >> np.uint64(56))
        i += 8
    while i < end:
        count -= (data[i] & 0xC0) == 0x80
        i += 1
    return count
