"""Runs of encoded data in texts: base64, hexadecimal bytes, and Unicode escapes, as StarCoder 2 finds them.

Exactly what these regular expressions find one after the other, over bytes (`\\b`, `\\s` of ASCII):
base64 `[a-zA-Z0-9+/\\n=]{64,}`, hexadecimal `(?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}`, and Unicode
`(?:\\\\u[0-9a-fA-F]{4}){8,}`; but newlines at the ends of a base64 run are not of it, and what is then shorter is
none, so that a gap of empty lines is no data. Source: Lozhkov et al. 2024, "StarCoder 2 and The Stack v2", section on
filters (encoded data). Cost: ~1 GB of text a CPU-second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only

MIN_BASE64_BYTES = 64
MIN_ELEMENTS = 8


_BASE64, _DIGIT, _WORD, _SPACE, _IN_HEX, _IN_UNICODE = 1, 2, 4, 8, 16, 32


def _marks() -> NDArray[np.uint8]:
    marks = np.zeros(256, np.uint8)
    marks[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/\n=")] |= _BASE64
    marks[list(b"0123456789abcdefABCDEF")] |= _DIGIT
    marks[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] |= _WORD
    marks[list(b" \t\n\r\f\v")] |= _SPACE
    marks[list(b"0123456789abcdefABCDEFx\\, \t\n\r\f\v")] |= _IN_HEX
    marks[list(b"0123456789abcdefABCDEFu\\")] |= _IN_UNICODE
    return read_only(marks)


_MARKS = _marks()


class EncodedRuns(NamedTuple):
    """Runs of each kind, in order: int64[3, k] each: document, first byte, and the byte behind, in `text.data`."""

    base64: NDArray[np.int64]
    hex: NDArray[np.int64]
    unicode: NDArray[np.int64]


def encoded_runs(text: TextBuffers) -> EncodedRuns:
    """The runs of each of n documents."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    return EncodedRuns(
        _base64_runs(offsets, data, _MARKS),
        _element_runs(offsets, data, _MARKS, True),
        _element_runs(offsets, data, _MARKS, False),
    )


@njit(cache=True, nogil=True)
def _is_boundary(data: Any, i: Any, start: Any, stop: Any, marks: Any) -> Any:
    """Whether a word begins or ends before byte i."""
    left = i > start and marks[data[i - 1]] & _WORD != 0
    right = i < stop and marks[data[i]] & _WORD != 0
    return left != right


@njit(cache=True, nogil=True)
def _hex_element(data: Any, i: Any, start: Any, stop: Any, marks: Any) -> Any:
    """The byte behind a hexadecimal byte and what follows it, or -1 if none stands at byte i."""
    if not _is_boundary(data, i, start, stop, marks):
        return np.int64(-1)
    if i + 1 < stop and (data[i] == 0x30 or data[i] == 0x5C) and data[i + 1] == 0x78:
        i += 2
    if i + 2 > stop or not marks[data[i]] & _DIGIT or not marks[data[i + 1]] & _DIGIT:
        return np.int64(-1)
    i += 2
    if i < stop and data[i] == 0x2C:
        return i + 1
    if not _is_boundary(data, i, start, stop, marks):
        return np.int64(-1)
    while i < stop and marks[data[i]] & _SPACE:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _unicode_element(data: Any, i: Any, stop: Any, marks: Any) -> Any:
    """The byte behind a Unicode escape, or -1 if none stands at byte i."""
    if i + 6 > stop or data[i] != 0x5C or data[i + 1] != 0x75:
        return np.int64(-1)
    for k in range(i + 2, i + 6):
        if not marks[data[k]] & _DIGIT:
            return np.int64(-1)
    return i + 6


@njit(cache=True, nogil=True)
def _put(out: Any, count: Any, row: Any, first: Any, last: Any) -> Any:
    """Writes a run behind `count` others; gives the array, which may be a larger one."""
    if count == out.shape[1]:
        more = np.empty((3, 2 * count), np.int64)
        more[:, :count] = out
        out = more
    out[0, count], out[1, count], out[2, count] = row, first, last
    return out


@njit(cache=True, nogil=True)
def _next_stretch(data: Any, i: Any, stop: Any, marks: Any, bit: Any, size: Any) -> Any:
    """The next longest stretch, from byte i on, of `size` bytes or more that have a bit; (stop, stop) if there is none.

    The byte before i, if there is one, has not the bit. One byte in `size` is looked at, and those beside it if it has.
    """
    at = i + size - 1
    while at < stop:
        if not marks[data[at]] & bit:
            i = at + 1
            at += size
            continue
        first, last = at, at + 1
        while first > i and marks[data[first - 1]] & bit:
            first -= 1
        while last < stop and marks[data[last]] & bit:
            last += 1
        if last - first >= size:
            return first, last
        i = last
        at = last + size
    return stop, stop


@njit(cache=True, nogil=True)
def _next_elements(data: Any, i: Any, limit: Any, start: Any, stop: Any, marks: Any, is_hex: Any) -> Any:
    """The next run of elements that begins in bytes i to limit - 1; (limit, limit) if there is none."""
    while i < limit:
        if data[i] != 0x5C and not (is_hex and marks[data[i]] & _DIGIT):
            i += 1
            continue
        last, elements = i, 0
        while True:
            if is_hex:
                after = _hex_element(data, last, start, stop, marks)
            else:
                after = _unicode_element(data, last, stop, marks)
            if after < 0:
                break
            last, elements = after, elements + 1
        if elements >= MIN_ELEMENTS:
            return i, last
        i = max(last, i + 1)  # none begins within an element
    return limit, limit


@njit(cache=True, nogil=True)
def _base64_runs(offsets: Any, data: Any, marks: Any) -> Any:
    out = np.empty((3, 64), np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        i, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while i < stop:
            first, i = _next_stretch(data, i, stop, marks, _BASE64, MIN_BASE64_BYTES)
            last = i
            while first < last and data[first] == 0x0A:
                first += 1
            while last > first and data[last - 1] == 0x0A:
                last -= 1
            if last - first >= MIN_BASE64_BYTES:
                out = _put(out, count, row, first, last)
                count += 1
    return out[:, :count].copy()


@njit(cache=True, nogil=True)
def _element_runs(offsets: Any, data: Any, marks: Any, is_hex: Any) -> Any:
    out = np.empty((3, 64), np.int64)
    count = 0
    bit = _IN_HEX if is_hex else _IN_UNICODE
    size = MIN_ELEMENTS * (2 if is_hex else 6)
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        end = start
        while end < stop:
            i, end = _next_stretch(data, end, stop, marks, bit, size)
            while i < end:
                first, i = _next_elements(data, i, end, start, stop, marks, is_hex)
                if first < i:
                    out = _put(out, count, row, first, i)
                    count += 1
    return out[:, :count].copy()


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    encoded_runs(ONE_TEXT)
