"""How many characters of an HTML source a reader would see: those outside tags, comments, scripts and style sheets.

White space counts once where several characters of it stand in a row, and not at the ends; an entity counts as it is
written. A `<` that no letter, `/`, `!` or `?` follows is text (HTML Living Standard, section 13.2.5.6, tag open state).
Cost: ~500 MB of HTML a CPU-second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, TextBuffers, read_only
from dolma_pipeline.kernels.unicode import SPACE, class_table, decode

_SCRIPT, _STYLE, _COMMENT = (np.frombuffer(name, np.uint8) for name in (b"script", b"style", b"!--"))


def visible_characters(text: TextBuffers, is_html: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Visible code points of each document, int64[n]; 0 for those that are not HTML.

    Args:
        text: n documents.
        is_html: whether to look at each, bool[n].
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    counts = np.zeros(len(offsets) - 1, np.int64)
    _count(offsets, data, class_table(), is_html, counts)
    return counts


@njit(cache=True, nogil=True)
def _stands(data: Any, i: Any, stop: Any, name: Any) -> Any:
    """Whether a name in lower case stands at byte i, in any case."""
    if i + len(name) > stop:
        return False
    for k in range(len(name)):
        b = data[i + k]
        if (b | 0x20 if 0x41 <= b <= 0x5A else b) != name[k]:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_letter(b: Any) -> Any:
    return 0x61 <= b | 0x20 <= 0x7A


@njit(cache=True, nogil=True)
def _element_end(data: Any, i: Any, stop: Any, name: Any) -> Any:
    """Where the end tag of a script or style sheet begins whose content begins at byte i."""
    while i + 2 < stop:
        if data[i] == 0x3C and data[i + 1] == 0x2F and _stands(data, i + 2, stop, name):
            return i
        i += 1
    return stop


@njit(cache=True, nogil=True)
def _tag_end(data: Any, i: Any, stop: Any) -> Any:
    """The byte behind a tag, from behind its `<`; a `>` within quotation marks ends none."""
    quote = 0
    while i < stop:
        b = data[i]
        if quote:
            if b == quote:
                quote = 0
        elif b == 0x3E:
            return i + 1
        elif (b == 0x22 or b == 0x27) and data[i - 1] == 0x3D:
            quote = b
        i += 1
    return stop


@njit(cache=True, nogil=True)
def _count(offsets: Any, data: Any, classes: Any, is_html: Any, counts: Any) -> None:
    for row in range(len(offsets) - 1):
        if not is_html[row]:
            continue
        i, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
        gap, count = False, 0
        while i < stop:
            if data[i] == 0x3C and i + 1 < stop:
                b = data[i + 1]
                if _stands(data, i + 1, stop, _COMMENT):
                    i += 4
                    while i < stop and not (
                        data[i] == 0x3E and data[i - 1] == 0x2D and data[i - 2] == 0x2D
                    ):  # `<!-->` ends where it begins
                        i += 1
                    i += 1
                    gap = True
                    continue
                if _is_letter(b) or b == 0x2F or b == 0x21 or b == 0x3F:
                    after = _tag_end(data, i + 1, stop)
                    for name in (_SCRIPT, _STYLE):
                        end = i + 1 + len(name)
                        if _stands(data, i + 1, stop, name) and (end == stop or not _is_letter(data[end])):
                            after = _element_end(data, after, stop, name)
                    i = after
                    gap = True
                    continue
            point, size = decode(data, i)
            if classes[point] & SPACE:
                gap = True
            else:
                count += 1 + (gap and count > 0)
                gap = False
            i += size
        counts[row] = count


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    visible_characters(ONE_TEXT, np.ones(1, np.bool_))
