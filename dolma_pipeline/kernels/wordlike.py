"""How much of a text stands in words of a language, rather than in code, numbers, addresses or signs.

A character counts where its word, without punctuation and digits around it, is letters (marks, apostrophes, hyphens)
alone; of other words the letters beyond ASCII count. So `return(x)`, `snake_case`, `a.b`, `0x1f` and a URL count for
nothing, and a sentence without blanks in Chinese counts but for its punctuation. Cost: ~300 MB of text a second.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import ALPHA, NUM_CODE_POINTS, SPACE, class_table, decode

_SPACE, _JOINING, _MARK, _LETTER, _FAR, _HAN, _KANA, _BREAK = 1, 2, 4, 8, 16, 32, 64, 128
"""Bits of what a code point is in a word: an ASCII letter, or a letter beyond ASCII and of which script; the last, of
a stretch, says that there is anything else in it."""


class Wordlike(NamedTuple):
    """Code points of n texts, int64[n] each.

    `in_words` of `chars` (those that are not white space) stand in words of a language; `han` are Chinese characters,
    `kana` Japanese letters.
    """

    in_words: NDArray[np.int64]
    chars: NDArray[np.int64]
    han: NDArray[np.int64]
    kana: NDArray[np.int64]


def wordlike(
    text: TextBuffers,
    *,
    max_chars: int = 0,
    pieces: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
) -> Wordlike:
    """Counts each text.

    Args:
        max_chars: code points looked at from the start of each text; 0 looks at all.
        pieces: count these stretches instead of the texts: starts and ends, bytes in `text.data`, int32[n].
    """
    starts, ends = pieces if pieces is not None else (text.offsets[:-1], text.offsets[1:])
    counts = _count(read_only(starts), read_only(ends), read_only(text.data), _kinds(), max_chars)
    return Wordlike(*counts)


@cache
def _kinds() -> NDArray[np.uint8]:
    """The bits of every code point, uint8[1114112]."""
    classes = class_table()
    kinds = np.zeros(NUM_CODE_POINTS, np.uint8)
    kinds[classes & SPACE != 0] = _SPACE
    kinds[0x300:0x2000] |= np.where(classes[0x300:0x2000] & (SPACE | ALPHA) == 0, np.uint8(_MARK), np.uint8(0))
    kinds[[0x200C, 0x200D]] = _MARK
    kinds[[0x27, 0x2D, 0xAD, 0xB7, 0x2019]] = _JOINING  # apostrophes, hyphens, a middle dot (Catalan)
    kinds[classes & ALPHA != 0] = _FAR
    kinds[:128] = np.where(kinds[:128] == _FAR, np.uint8(_LETTER), kinds[:128])
    for first, last, bit in ((0x3400, 0x9FFF, _HAN), (0x20000, 0x3FFFF, _HAN), (0x3041, 0x30FF, _KANA)):
        kinds[first : last + 1] |= np.where(kinds[first : last + 1] == _FAR, np.uint8(bit), np.uint8(0))
    return read_only(kinds)


@njit(cache=True, nogil=True, inline="always")
def _of_word(inner, far, between):  # type: ignore[no-untyped-def]
    """Code points of a word that count."""
    counted = np.int64(0)
    if between & (_LETTER | _FAR):
        if between & _BREAK == 0:
            counted = inner
        elif between & _FAR:
            counted = far
    return counted


@njit(cache=True, nogil=True)
def _count(starts: Any, ends: Any, data: Any, kinds: Any, max_chars: Any) -> Any:
    """int64[4, n]: `in_words`, `chars`, `han`, `kana`."""
    counts = np.zeros((4, starts.size), np.int64)
    for i in range(starts.size):
        at, end = np.int64(starts[i]), np.int64(ends[i])
        left = np.int64(max_chars) if max_chars > 0 else end - at
        in_words, chars, han, kana = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        # Of the word so far: from its first letter to its last, behind that, letters beyond ASCII with marks; all bits
        # of what is in between.
        inner = behind = far = between = pending = np.int64(0)
        while at < end and left > 0:
            left -= 1
            byte = data[at]
            if byte < 128:
                kind = np.int64(kinds[byte])
                at += 1
            else:
                point, size = decode(data, at)
                kind = np.int64(kinds[point])
                at += size
            if kind & _SPACE:
                if inner:
                    in_words += _of_word(inner, far, between)
                inner = behind = far = between = pending = np.int64(0)
                continue
            chars += 1
            if kind & (_LETTER | _FAR | _MARK):
                between |= pending | kind
                inner += behind + 1
                behind = pending = np.int64(0)
                if kind & (_FAR | _MARK):
                    far += 1
                    han += kind >> 5 & 1
                    kana += kind >> 6 & 1
            elif inner:
                behind += 1
                pending |= np.int64(0) if kind else np.int64(_BREAK)
        if inner:
            in_words += _of_word(inner, far, between)
        counts[0, i], counts[1, i], counts[2, i], counts[3, i] = in_words, chars, han, kana
    return counts


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    wordlike(ONE_TEXT)
