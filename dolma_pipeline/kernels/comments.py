"""Comments and docstrings of source code, by the comment and string syntax of its language, in one pass.

This is a scanner, not a parser: it knows line comments, block comments (not nested), strings with backslash escapes,
and, for docstrings, brackets. A string that is not closed ends with its line, so that an apostrophe of a syntax that
is not known here costs a line and not a file. A docstring is a string that is a statement by itself, as in Python.
Cost: ~300 MB of code a CPU-second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only

LINE, BLOCK, DOCSTRING = 0, 1, 2
"""Kinds of comments."""


@dataclass(frozen=True)
class Syntax:
    """How a language marks comments and strings; all ASCII.

    Args:
        line: up to two markers of up to 3 bytes; a comment goes on to the end of the line.
        block: up to two pairs of markers of up to 4 bytes.
        quotes: characters that open and close a string.
        at_word: a line marker counts only behind white space or at the start of a line (`$#` is none in a shell).
        triple: three quotes open and close a string, and a string that is a statement is a docstring (Python).
        long: quotes whose strings may go over lines.
        char: `'x'` is a character, and `'` opens no string (Rust's lifetimes).
    """

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"
    at_word: bool = False
    triple: bool = False
    long: str = ""
    char: bool = False


class Comments(NamedTuple):
    """Comments, in order: document, first byte and the byte behind in `text.data` (int64[k]), kind (int64[k])."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    kinds: NDArray[np.int64]


_BLOCKS, _FLAGS = 8, 24  # places in a row of the table below; lines stand at 0 and 4
_WIDTH = 32
_OPENERS = b"([{"
_CLOSERS = b")]}"


def syntax_table(syntaxes: Sequence[Syntax]) -> NDArray[np.uint8]:
    """What the kernel reads: a row of 32 bytes and a row of 256 marks of bytes for each syntax, uint8[n, 288]."""
    table = np.zeros((len(syntaxes), _WIDTH + 256), np.uint8)
    for row, syntax in zip(table, syntaxes, strict=True):
        markers = [*(m.encode() for m in syntax.line), *(a.encode() for a, _ in syntax.block)]
        for k, marker in enumerate(syntax.line):
            row[4 * k : 4 * k + len(marker)] = list(marker.encode())
        for k, (opening, closing) in enumerate(syntax.block):
            row[_BLOCKS + 8 * k : _BLOCKS + 8 * k + len(opening)] = list(opening.encode())
            row[_BLOCKS + 8 * k + 4 : _BLOCKS + 8 * k + 4 + len(closing)] = list(closing.encode())
        row[_FLAGS : _FLAGS + 3] = syntax.at_word, syntax.triple, syntax.char
        special = {marker[0] for marker in markers} | set(syntax.quotes.encode()) | {0x0A}
        special |= set(_OPENERS + _CLOSERS) if syntax.triple else set()
        special |= {0x27} if syntax.char else set()
        row[_WIDTH + np.array(sorted(special))] = 1
        for quote in syntax.quotes.encode():
            row[_WIDTH + quote] = 3 if chr(quote) in syntax.long else 2
    return table


def find_comments(text: TextBuffers, languages: NDArray[np.int64], table: NDArray[np.uint8]) -> Comments:
    """The comments of each document.

    Args:
        text: n documents.
        languages: row of `table` for each document, -1 for one of no known language, which has none; int64[n].
        table: as `syntax_table` makes it.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    return Comments(*_scan(offsets, data, languages, table))


@njit(cache=True, nogil=True)
def _starts(data: Any, i: Any, stop: Any, table: Any, language: Any, at: Any) -> Any:
    """Length of a marker (4 bytes at `table[language, at]`, padded with 0) if it stands at byte i, else 0."""
    k = 0
    while k < 4 and table[language, at + k] != 0:
        if i + k >= stop or data[i + k] != table[language, at + k]:
            return 0
        k += 1
    return k


@njit(cache=True, nogil=True)
def _comment_end(data: Any, i: Any, stop: Any, table: Any, language: Any, start: Any) -> Any:
    """Kind of the comment that begins at byte i, or -1, and the byte behind it; `start` is the document's."""
    for at in (_BLOCKS, _BLOCKS + 8):  # before lines: Lua's `--[[` begins as a line comment does
        size = _starts(data, i, stop, table, language, at)
        if size:
            end, closing = i + size, 0
            while end < stop and closing == 0:
                closing = _starts(data, end, stop, table, language, at + 4)
                end += max(closing, 1)
            return BLOCK, end
    if table[language, _FLAGS] and i > start and data[i - 1] > 0x20:
        return -1, i
    if _starts(data, i, stop, table, language, 0) or _starts(data, i, stop, table, language, 4):
        while i < stop and data[i] != 0x0A:
            i += 1
        return LINE, i
    return -1, i


@njit(cache=True, nogil=True)
def _next_special(data: Any, i: Any, stop: Any, table: Any, language: Any, first: Any) -> Any:
    """The next byte that may begin a comment, a string or a line, or `stop`; and where the line's statement begins."""
    while i < stop and table[language, _WIDTH + data[i]] == 0:
        if first < 0 and data[i] != 0x20 and data[i] != 0x09 and data[i] != 0x0D and data[i] != 0x0C:
            first = i
        i += 1
    return i, first


@njit(cache=True, nogil=True)
def _string_end(data: Any, i: Any, stop: Any, quote: Any, triple: Any, over_lines: Any) -> Any:
    """The byte behind a string whose text begins at byte i."""
    while i < stop:
        b = data[i]
        if b == 0x5C and i + 1 < stop:
            i += 2
            continue
        if b == quote and (not triple or (i + 2 < stop and data[i + 1] == quote and data[i + 2] == quote)):
            return i + (3 if triple else 1)
        if b == 0x0A and not over_lines:
            return i
        i += 1
    return min(i, stop)


@njit(cache=True, nogil=True)
def _is_statement(data: Any, first: Any, i: Any, end: Any, stop: Any) -> Any:
    """Whether a string from i to end is all of its statement, which begins at `first`, but for up to two letters."""
    if i - first > 2:
        return False
    for k in range(first, i):
        if not 0x61 <= data[k] | 0x20 <= 0x7A:
            return False
    while end < stop and (data[end] == 0x20 or data[end] == 0x09 or data[end] == 0x0D):
        end += 1
    return end == stop or data[end] == 0x0A or data[end] == 0x23 or data[end] == 0x3B


@njit(cache=True, nogil=True)
def _scan(offsets: Any, data: Any, languages: Any, table: Any) -> Any:
    out = np.empty((4, 64), np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        if languages[row] < 0:
            continue
        language = languages[row]
        triple, char = table[language, _FLAGS + 1] != 0, table[language, _FLAGS + 2] != 0
        start, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        i = start
        first = np.int64(-1)  # where the line's statement begins
        depth = 0
        while True:
            i, first = _next_special(data, i, stop, table, language, first)
            if i == stop:
                break
            b = data[i]
            mark = table[language, _WIDTH + b]
            if b == 0x0A:
                if depth <= 0 and not (i > start and data[i - 1] == 0x5C):
                    first = np.int64(-1)
                i += 1
                continue
            kind, end = _comment_end(data, i, stop, table, language, start)
            if kind < 0 and mark >= 2:
                three = triple and i + 2 < stop and data[i + 1] == b and data[i + 2] == b
                end = _string_end(data, i + (3 if three else 1), stop, b, three, three or mark == 3)
                if triple and depth <= 0 and _is_statement(data, i if first < 0 else first, i, end, stop):
                    kind = DOCSTRING
            elif kind < 0 and char and b == 0x27:
                size = 4 if i + 1 < stop and data[i + 1] == 0x5C else 3
                end = i + size if i + size <= stop and data[i + size - 1] == 0x27 else i + 1
            elif kind < 0:
                if triple:
                    depth += (b == 0x28 or b == 0x5B or b == 0x7B) - (b == 0x29 or b == 0x5D or b == 0x7D)
                end = i + 1
            if kind >= 0:
                if count == out.shape[1]:
                    more = np.empty((4, 2 * count), np.int64)
                    more[:, :count] = out
                    out = more
                out[0, count], out[1, count], out[2, count], out[3, count] = row, i, end, kind
                count += 1
            if first < 0 and kind != LINE and kind != BLOCK:
                first = i
            i = end
    return out[0, :count].copy(), out[1, :count].copy(), out[2, :count].copy(), out[3, :count].copy()


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    find_comments(ONE_TEXT, np.zeros(1, np.int64), syntax_table([Syntax(line=("#",))]))
