"""Small counts over source code: tokens, and the comment at a file's head that speaks of copyright.

Cost: ~750 MB of text a CPU-second for tokens; heads cost nothing beside finding comments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.comments import Comments
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import SPACE, WORD, class_table, decode

_COPYRIGHT, _LICENCE, _LICENSE = (np.frombuffer(word, np.uint8) for word in (b"copyright", b"licence", b"license"))
_BOM, _PHP = (np.frombuffer(mark, np.uint8) for mark in (b"\xef\xbb\xbf", b"<?php"))


def count_tokens(text: TextBuffers) -> NDArray[np.int64]:
    """Tokens of each document, int64[n]: what `re.findall(r"\\w+|[^\\w\\s]+", text)` gives."""
    offsets, data = read_only(text.offsets), read_only(text.data)
    counts = np.zeros(len(offsets) - 1, np.int64)
    _count_tokens(offsets, data, class_table(), counts)
    return counts


def copyright_headers(text: TextBuffers, comments: Comments) -> NDArray[np.int64]:
    """Of each document the first block of comments before its code that says copyright, license or licence.

    A block is comments of one kind with no more than one newline between them. Before the first there may be white
    space, a byte order mark and `<?php`.

    Args:
        text: n documents.
        comments: of them.

    Returns:
        int64[3, k]: document, first byte, byte behind; one at most a document.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    return np.asarray(_headers(offsets, data, *comments))


@njit(cache=True, nogil=True)
def _count_tokens(offsets: Any, data: Any, classes: Any, counts: Any) -> None:
    for row in range(len(offsets) - 1):
        i, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        last, count = SPACE, 0
        while i < stop:
            point, size = decode(data, i)
            kind = classes[point] & (SPACE | WORD)
            count += kind != last and kind != SPACE
            last = kind
            i += size
        counts[row] = count


@njit(cache=True, nogil=True)
def _holds(data: Any, i: Any, stop: Any, word: Any) -> Any:
    if i + len(word) > stop:
        return False
    k = 0
    while k < len(word) and data[i + k] | 0x20 == word[k]:
        k += 1
    return k == len(word)


@njit(cache=True, nogil=True)
def _is_mark(data: Any, i: Any, stop: Any, mark: Any) -> Any:
    if i + len(mark) > stop:
        return False
    k = 0
    while k < len(mark) and data[i + k] == mark[k]:
        k += 1
    return k == len(mark)


@njit(cache=True, nogil=True)
def _gap(data: Any, i: Any, stop: Any) -> Any:
    """Newlines in a stretch of ASCII white space, or -1 if there is anything else."""
    newlines = 0
    while i < stop:
        if data[i] != 0x20 and not 0x09 <= data[i] <= 0x0D:
            return -1
        newlines += data[i] == 0x0A
        i += 1
    return newlines


@njit(cache=True, nogil=True)
def _headers(offsets: Any, data: Any, rows: Any, starts: Any, ends: Any, kinds: Any) -> Any:
    out = np.empty((3, len(offsets) - 1), np.int64)
    count = np.int64(0)
    k = np.int64(0)
    while k < len(rows):
        row = rows[k]
        at = np.int64(offsets[row])
        if _is_mark(data, at, starts[k], _BOM):
            at += len(_BOM)
        if _is_mark(data, at, starts[k], _PHP):
            at += len(_PHP)
        found = False
        while k < len(rows) and rows[k] == row and not found and _gap(data, at, starts[k]) >= 0:
            last = k
            while (
                last + 1 < len(rows)
                and rows[last + 1] == row
                and kinds[last + 1] == kinds[k]
                and 0 <= _gap(data, ends[last], starts[last + 1]) <= 1
            ):
                last += 1
            i = starts[k]
            while i < ends[last] and not found:
                b = data[i] | 0x20
                found = (b == 0x63 and _holds(data, i, ends[last], _COPYRIGHT)) or (
                    b == 0x6C and (_holds(data, i, ends[last], _LICENCE) or _holds(data, i, ends[last], _LICENSE))
                )
                i += 1
            if found:
                out[0, count], out[1, count], out[2, count] = row, starts[k], ends[last]
                count += 1
            at, k = ends[last], last + 1
        while k < len(rows) and rows[k] == row:
            k += 1
    return out[:, :count].copy()


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    count_tokens(ONE_TEXT)
    none = np.zeros(0, np.int64)
    copyright_headers(ONE_TEXT, Comments(none, none, none, none))
