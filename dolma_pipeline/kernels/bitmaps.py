"""Which bytes of a batch are white space, letters, marks and so on: a bit a byte, which several kernels read.

64 bytes are compared at once (`intrinsics.equal`, `between`); characters beyond ASCII are looked up one by one. What
asks for words, lines or sentences then goes from bit to bit, 64 bytes a step, instead of from byte to byte.
Cost: 0.1 ms for a MB of ASCII, 4 ns for each other character; a byte of memory for a byte of text, once a batch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.intrinsics import BLOCK, between, equal, lowest_bit
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.sentence_marks import mark_table
from dolma_pipeline.kernels.tables import ONE_TEXT, Bitmaps, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import SPACE, class_table, decode

_MARK, _ELLIPSIS = 8, 16
_ASCII_MARKS = tuple(np.uint8(byte) for byte in b"!.?\"')]}")
"""What `sentence_marks.mark_table` has of ASCII."""

ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def find_bitmaps(text: TextBuffers) -> Bitmaps:
    """The bitmaps of a batch's text."""
    whole, end = last_block(text)
    found = np.zeros((len(Bitmaps._fields), whole + 2), np.uint64)
    _fill(read_only(text.data), int(text.offsets[0]), _kinds(), 0, whole, found)
    _fill(end, -whole * BLOCK, _kinds(), whole, whole + 1, found)
    return Bitmaps(*map(read_only, found))


def last_block(text: TextBuffers) -> tuple[int, NDArray[np.uint8]]:
    """How many blocks of 64 bytes a batch's text has, and what is left behind them, with zeros up to 128 bytes: so that
    64 bytes can be read at every byte of it."""
    first, stop = int(text.offsets[0]), int(text.offsets[-1])
    whole, rest = divmod(stop - first, BLOCK)
    end = np.zeros(2 * BLOCK, np.uint8)
    end[:rest] = text.data[stop - rest : stop]
    return whole, read_only(end)


@cache
def _kinds() -> NDArray[np.uint8]:
    """Bits SPACE, ALPHA, WORD, _MARK and _ELLIPSIS of each code point, uint8[0x110000]."""
    kinds = class_table() | (mark_table() != 0) * np.uint8(_MARK)
    kinds[0x2026] |= _ELLIPSIS
    return read_only(kinds)


@njit(cache=True, nogil=True)
def _fill(data: Any, first: Any, kinds: Any, block: Any, stop: Any, found: Any) -> None:
    """Fills blocks of the bitmaps; the first block's bytes are from `data[first + 64 * block]` on."""
    one, top = np.uint64(1), np.uint64(BLOCK - 1)
    for j in range(block, stop):
        at = first + BLOCK * j
        newline = equal(data, at, np.uint8(0x0A))
        space = equal(data, at, np.uint8(0x20)) | between(data, at, np.uint8(0x09), np.uint8(5), np.uint8(0))
        space |= between(data, at, np.uint8(0x1C), np.uint8(4), np.uint8(0))
        letter = between(data, at, np.uint8(0x61), np.uint8(26), np.uint8(0x20))
        letter &= ~between(data, at, np.uint8(0x80), np.uint8(0x80), np.uint8(0))
        word = letter | between(data, at, np.uint8(0x30), np.uint8(10), np.uint8(0)) | equal(data, at, np.uint8(0x5F))
        mark = np.uint64(0)
        for byte in _ASCII_MARKS:
            mark |= equal(data, at, byte)
        dots = equal(data, at, np.uint8(0x2E))
        odd = equal(data, at, np.uint8(0x23))  # the dots behind the block are not seen
        odd |= dots & (dots >> one | one << top) & (dots >> np.uint64(2) | np.uint64(3) << np.uint64(BLOCK - 2))
        high = between(data, at, np.uint8(0x80), np.uint8(0x80), np.uint8(0))
        if high:
            more = between(data, at, np.uint8(0x80), np.uint8(0x40), np.uint8(0))
            found[4, j] = more
            leads = high & ~more
            while leads:
                k = lowest_bit(leads)
                leads &= leads - one
                point, size = decode(data, at + k)
                kind, place = np.uint64(kinds[point]), np.uint64(k)
                letter |= (kind >> np.uint64(1) & one) << place
                word |= (kind >> np.uint64(2) & one) << place
                mark |= (kind >> np.uint64(3) & one) << place
                odd |= (kind >> np.uint64(4) & one) << place
                if kind & np.uint64(SPACE):
                    bytes_ = (one << np.uint64(size)) - one
                    space |= bytes_ << place
                    found[0, j + 1] |= bytes_ >> one >> (top - place)
        found[0, j] |= space
        found[1, j], found[2, j], found[3, j], found[5, j], found[6, j] = newline, letter, word, mark, odd


@njit(cache=True, nogil=True, inline="always")
def bits_below(count: Any) -> Any:
    """The lowest `count` bits (0 to 64) of a uint64."""
    return ALL >> np.uint64(64 - count) if count > 0 else np.uint64(0)


@njit(cache=True, nogil=True, inline="always")
def bits_between(block: Any, start: Any, stop: Any) -> Any:
    """The bits of a block that are of bytes `start` to `stop - 1`, counted as in `Bitmaps`."""
    bits = ALL
    if start > BLOCK * block:
        bits &= ~bits_below(start - BLOCK * block)
    if stop < BLOCK * (block + 1):
        bits &= bits_below(stop - BLOCK * block)
    return bits


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    find_bitmaps(ONE_TEXT)
