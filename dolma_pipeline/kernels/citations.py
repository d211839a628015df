"""Marks of citations as Wikipedia sets them: `[1]`, `[]`, `[edit]` and `[citation needed]`, and lines without them.

A mark is what `\\[\\d*\\]|\\[edit\\]|\\[citation needed\\]` matches: digits of any script, small letters.
Cost: numpy looks for brackets, at some GB a second; ~10 ns a bracket.
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2.2
(citation markers are removed); which marks, and that they go before a line is judged, is the code published with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import ALPHA, WORD, class_table, decode

_OPEN, _CLOSE = 0x5B, 0x5D
_NAMED = tuple(np.frombuffer(name, np.uint8) for name in (b"edit]", b"citation needed]"))


class Citations(NamedTuple):
    """Marks in order. rows (int64[k]): of the documents. starts, ends (int64[k]): bytes of `text.data`."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class CutLines(NamedTuple):
    """Lines that hold marks, without them. at (int64[m]): which lines. text: m texts, what is left of these."""

    at: NDArray[np.int64]
    text: TextBuffers


def find_citations(text: TextBuffers) -> Citations:
    """The marks in n documents."""
    first, stop = int(text.offsets[0]), int(text.offsets[-1])
    starts = np.flatnonzero(text.data[first:stop] == _OPEN) + first
    rows = np.searchsorted(text.offsets, starts, side="right") - 1
    ends = np.zeros(len(starts), np.int64)
    if len(starts):
        stops = read_only(text.offsets[rows + 1].astype(np.int64))
        _ends(read_only(text.data), class_table(), read_only(starts), stops, ends)
    for i in np.flatnonzero(ends < 0):  # digits that are not ASCII, or numbers that are no digits, such as ²
        ends[i] = -ends[i]
        inner = text.data[starts[i] + 1 : ends[i] - 1].tobytes().decode()
        ends[i] *= inner.isdecimal()
    found = ends > 0
    return Citations(rows[found], starts[found], ends[found])


def without_citations(text: TextBuffers, lines: Tokens, found: Citations) -> CutLines:
    """The lines that hold marks, without them.

    Args:
        text: n documents. lines: `split_lines(text)`. found: `find_citations(text)`; no mark goes beyond its line.
    """
    owner = np.searchsorted(lines.starts, found.starts, side="right") - 1
    at = np.unique(owner)
    lengths = lines.ends[at].astype(np.int64) - lines.starts[at]
    np.subtract.at(lengths, np.searchsorted(at, owner), found.ends - found.starts)
    offsets = np.zeros(len(at) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    whole = read_only(lines.starts[at].astype(np.int64)), read_only(lines.ends[at].astype(np.int64))
    _cut(read_only(text.data), *whole, read_only(found.starts), read_only(found.ends), data)
    return CutLines(at, TextBuffers(read_only(offsets), read_only(data)))


@njit(cache=True, nogil=True)
def _ends(data: Any, classes: Any, starts: Any, stops: Any, ends: Any) -> None:
    """Writes the byte behind the mark that starts at each bracket, negative if not all is ASCII; 0: no mark."""
    for k in range(len(starts)):
        i, stop = starts[k] + 1, stops[k]
        plain = True
        while i < stop:
            point, size = decode(data, i)
            if point < 0x80:
                if not 0x30 <= point <= 0x39:
                    break
            elif classes[point] & (WORD | ALPHA) == WORD:
                plain = False
            else:
                break
            i += size
        if i < stop and data[i] == _CLOSE:
            ends[k] = i + 1 if plain else -(i + 1)
            continue
        for name in _NAMED:
            same = starts[k] + 1 + len(name) <= stop
            for j in range(len(name) if same else 0):
                same &= data[starts[k] + 1 + j] == name[j]
            if same:
                ends[k] = starts[k] + 1 + len(name)


@njit(cache=True, nogil=True)
def _cut(data: Any, line_starts: Any, line_ends: Any, starts: Any, ends: Any, out: Any) -> None:
    k = n = 0
    for line in range(len(line_starts)):
        i = line_starts[line]
        while i < line_ends[line]:
            if k < len(starts) and starts[k] == i:
                i = ends[k]
                k += 1
            else:
                out[n] = data[i]
                n += 1
                i += 1


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    found = Citations(*(np.array([value], np.int64) for value in (0, 0, 1)))
    _ends(ONE_TEXT.data, class_table(), read_only(found.starts), read_only(found.ends), np.zeros(1, np.int64))
    without_citations(ONE_TEXT, ONE_TOKEN, found)
