"""How many characters of each kind a text holds, how many of them in URLs, how many in mojibake.

Mojibake is UTF-8 that was read as Latin-1 or Windows-1252: an accented letter that stands for the first byte of a
character, and as many characters after it as that needs, each standing for a byte 0x80 to 0xBF (`Ã©`, `â€™`). Such a
sequence may be honest text (`É»`, `ß…`), so one that ends in quotation marks, dashes and the like alone counts only
beside another, or after `Ã` or `Â`, which begin most mojibake of Western text.
A URL begins with http://, https://, ftp:// or www. and goes on over characters of RFC 3986, less the punctuation at
its end.
Cost: ~400 MB of text a CPU-second in English, ~200 in other scripts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import load8
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import each, holds_zero
from dolma_pipeline.kernels.scripts import group_kinds, group_table
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import decode

_CODE_POINTS_OF_1252 = 0x2123
"""One more than the last code point (U+2122) that Windows-1252 has."""


def _bytes_of_1252() -> NDArray[np.uint8]:
    """The byte 0x80 to 0xBF that a code point below `_CODE_POINTS_OF_1252` is in Latin-1 or Windows-1252; else 0."""
    table = np.zeros(_CODE_POINTS_OF_1252, np.uint8)
    table[0x80:0xC0] = np.arange(0x80, 0xC0)
    for byte in range(0x80, 0xA0):
        char = bytes([byte]).decode("cp1252", "ignore")  # five of them are nothing
        if char:
            table[ord(char)] = byte
    return read_only(table)


HONEST_AFTER_LETTERS = bytes("‚„…‹‘’“”•–—™›\xa0¨©«\xad®°²³´·¹º»", "cp1252")
"""What follows an accented letter in honest text, as bytes of Windows-1252."""

URL_CHARACTERS = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + b"-._~" + b":/?#[]@" + b"!$&'()*+,;=" + b"%"
)
"""Unreserved, reserved and percent: RFC 3986, sections 2.1 to 2.3."""
URL_NEVER_ENDS_IN = b".,;:!?'\")]*"

_COLONS, _DOTS = each(0x3A), each(0x2E)
_BYTES_OF_1252 = _bytes_of_1252()
_HONEST = np.zeros(256, np.bool_)
_HONEST[list(HONEST_AFTER_LETTERS)] = True
_IN_URL, _NOT_LAST, _ALNUM = np.zeros(256, np.bool_), np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_IN_URL[list(URL_CHARACTERS)] = True
_NOT_LAST[list(URL_NEVER_ENDS_IN)] = True
_ALNUM[list(URL_CHARACTERS[:62])] = True


def count_kinds(text: TextBuffers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Characters of each document by kind, int64[n, len(scripts.KINDS)], and those in mojibake, int64[n]."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    each = group_kinds()
    groups = np.zeros((len(offsets) - 1, len(each)), np.int64)
    mojibake = np.zeros(len(offsets) - 1, np.int64)
    _count(offsets, data, group_table(), _BYTES_OF_1252, _HONEST, groups, mojibake)
    return groups @ each, mojibake


def count_url_characters(text: TextBuffers) -> NDArray[np.int64]:
    """Characters (all of them ASCII) of each document that lie in URLs, int64[n]."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    counts = np.zeros(len(offsets) - 1, np.int64)
    _count_urls(offsets, data, _IN_URL, _NOT_LAST, _ALNUM, counts)
    return counts


@njit(cache=True, nogil=True)
def _byte_at(data: Any, i: Any, bytes_of_1252: Any) -> Any:
    """The byte 0x80 to 0xBF that the character at byte i stands for in mojibake, or 0; how many bytes it takes; whether
    it is a control character, which is nothing that people write."""
    point, size = decode(data, i)
    byte = np.int64(bytes_of_1252[point]) if point < len(bytes_of_1252) else np.int64(0)
    return byte, size, point < 0xA0


@njit(cache=True, nogil=True)
def _mojibake(data: Any, i: Any, stop: Any, lead: Any, bytes_of_1252: Any, honest: Any) -> Any:
    """Of a sequence after its lead (i: behind it): its end, or -1; its characters; whether it cannot be honest."""
    more = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
    certain = lead <= 0xC3
    for k in range(more):
        if i == stop:
            return np.int64(-1), 0, False
        byte, size, is_control = _byte_at(data, i, bytes_of_1252)
        if byte == 0:
            return np.int64(-1), 0, False
        if k == 0 and (
            (lead == 0xE0 and byte < 0xA0)  # what UTF-8 forbids: RFC 3629, section 4
            or (lead == 0xED and byte > 0x9F)
            or (lead == 0xF0 and byte < 0x90)
            or (lead == 0xF4 and byte > 0x8F)
        ):
            return np.int64(-1), 0, False
        certain |= is_control or not honest[byte]
        i += size
    return np.int64(i), 1 + more, certain


@njit(cache=True, nogil=True)
def _count(
    offsets: Any, data: Any, table: Any, bytes_of_1252: Any, honest: Any, groups: Any, mojibake: Any
) -> None:  # fmt: skip
    ascii_counts = np.zeros(128, np.int64)
    for row in range(len(offsets) - 1):
        i, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        ascii_counts[:] = 0
        run_end, run_chars, sequences, certain = np.int64(-1), 0, 0, False
        while i < stop:
            if data[i] < 0x80:
                ascii_counts[data[i]] += 1
                i += 1
                continue
            point, size = decode(data, i)
            groups[row, table[point]] += 1
            if 0xC2 <= point <= 0xF4:
                end, chars, sure = _mojibake(data, i + size, stop, point, bytes_of_1252, honest)
                if end >= 0:
                    if i != run_end:
                        mojibake[row] += run_chars if certain or sequences > 1 else 0
                        run_chars, sequences, certain = 0, 0, False
                    run_end, run_chars, sequences = end, run_chars + chars, sequences + 1
                    certain |= sure
            i += size
        mojibake[row] += run_chars if certain or sequences > 1 else 0
        for byte in range(128):
            groups[row, table[byte]] += ascii_counts[byte]


@njit(cache=True, nogil=True)
def _url_start(data: Any, i: Any, start: Any, stop: Any, alnum: Any) -> Any:
    """Where a URL begins whose `://` or whose `www.` has its `:` or `.` at byte i, and where its rest begins; or -1."""
    first = i
    if data[i] == 0x3A:
        if i + 2 >= stop or data[i + 1] != 0x2F or data[i + 2] != 0x2F:
            return np.int64(-1), i
        while first > start and i - first < 6 and alnum[data[first - 1]]:
            first -= 1
        size = i - first
        rest = i + 3
        if size == 3:
            fits = data[first] | 0x20 == 0x66 and data[first + 1] | 0x20 == 0x74 and data[first + 2] | 0x20 == 0x70
        elif size == 4 or size == 5:
            fits = data[first] | 0x20 == 0x68 and data[first + 1] | 0x20 == 0x74 and data[first + 2] | 0x20 == 0x74
            fits = fits and data[first + 3] | 0x20 == 0x70 and (size == 4 or data[first + 4] | 0x20 == 0x73)
        else:
            fits = False
    else:
        first = i - 3
        rest = i + 1
        fits = first >= start and rest < stop and alnum[data[rest]]
        for k in range(3):
            fits = fits and data[first + k] | 0x20 == 0x77
        if fits and first > start and (alnum[data[first - 1]] or data[first - 1] == 0x5F):
            fits = False
    return (first if fits else np.int64(-1)), rest


@njit(cache=True, nogil=True)
def _next_mark(data: Any, i: Any, stop: Any) -> Any:
    """The first `:` or `.` in `data[i:stop]`, or `stop`; looks at eight bytes at a time."""
    while i + 8 <= stop:
        x = load8(data, i)
        colons, dots = x ^ _COLONS, x ^ _DOTS
        if holds_zero(colons) or holds_zero(dots):
            break
        i += 8
    while i < stop and data[i] != 0x3A and data[i] != 0x2E:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _count_urls(offsets: Any, data: Any, in_url: Any, not_last: Any, alnum: Any, counts: Any) -> None:
    for row in range(len(offsets) - 1):
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        i = start
        while i < stop:
            i = _next_mark(data, i, stop)
            if i == stop:
                break
            first, rest = _url_start(data, i, start, stop, alnum)
            i += 1
            if first < 0:
                continue
            end = rest
            while end < stop and in_url[data[end]]:
                end += 1
            behind = end
            while end > rest and not_last[data[end - 1]]:
                end -= 1
            if end > rest:
                counts[row] += end - first
            i = start = behind


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    count_kinds(ONE_TEXT)
    count_url_characters(ONE_TEXT)
