"""What every code point is, as Python's own `str` and `re` see it, and how to read one from UTF-8.

`class_table()` is a byte a code point (1.1 MB), so that whitespace, letters and word characters follow
`str.split`, `str.isalpha` and `\\w` exactly: NBSP, U+2028, U+001C and all. It follows the Unicode version of the
running Python (`unicodedata.unidata_version`). Cost: ~40 ms a process on first use, then one lookup a character.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.tables import read_only

SPACE = 1
"""Bit of `class_table`: `str.isspace`, where `str.split` cuts."""
ALPHA = 2
"""Bit of `class_table`: `str.isalpha`."""
WORD = 4
"""Bit of `class_table`: matches `\\w` (letters, numbers, underscore)."""

NUM_CODE_POINTS = 0x110000


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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def before(data: Any, i: Any) -> Any:
    """First byte of the code point that ends before byte i of valid UTF-8; i is not the start of the text."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@numba.njit(cache=True, nogil=True)
def count_code_points(data: Any, start: Any, end: Any) -> Any:
    """Code points of `data[start:end]`: its bytes that continue no other."""
    count = 0
    for i in range(start, end):
        count += (data[i] & 0xC0) != 0x80
    return count
