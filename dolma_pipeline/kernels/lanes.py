"""Eight bytes at a time, as the bytes of a uint64: constants, and what several kernels ask of them.

A question is answered in the top bit of each byte. Source: Warren, "Hacker's Delight", chapter 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.hashing import load8
from dolma_pipeline.kernels.jit import njit


def each(byte: int) -> np.uint64:
    """A byte, eight times."""
    return np.uint64(byte * 0x0101010101010101)


ONES, TOPS, LOW7 = each(0x01), each(0x80), each(0x7F)
CASE = each(0x20)
"""A bit of each byte by which capitals differ from small letters, in ASCII."""


@njit(cache=True, nogil=True)
def zeros(x: Any) -> Any:
    """The top bit of each byte of x that is 0; bytes must be below 0x80."""
    return ~(x + LOW7) & TOPS


@njit(cache=True, nogil=True)
def holds_zero(x: Any) -> Any:
    """Not 0 if some byte of x is 0, whatever the bytes are; of its top bits only the lowest is sure (`below_first`)."""
    return (x - ONES) & ~x & TOPS


@njit(cache=True, nogil=True)
def below_first(mask: Any) -> Any:
    """All bits of the bytes below the lowest one whose top bit is set; mask: not 0, only top bits."""
    return ((mask & (~mask + np.uint64(1))) >> np.uint64(7)) - np.uint64(1)


@njit(cache=True, nogil=True)
def num_bytes_in(below: Any) -> Any:
    """How many bytes `below_first` has."""
    return np.int64(((below & ONES) * ONES) >> np.uint64(56))


@njit(cache=True, nogil=True)
def all_ascii(data: Any, start: Any, end: Any) -> Any:
    """Whether all bytes of `data[start:end]` are below 0x80."""
    high, i = np.uint64(0), np.int64(start)
    while i + 8 <= end:
        high |= load8(data, i)
        i += 8
    while i < end:
        high |= np.uint64(data[i])
        i += 1
    return high & TOPS == 0


@njit(cache=True, nogil=True)
def count_tops(mask: Any) -> Any:
    """How many bytes of a uint64 have their top bit set, the other bits being 0."""
    return np.int64(((mask >> np.uint64(7)) * ONES) >> np.uint64(56))
