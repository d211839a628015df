"""Span lists: from byte positions in the batch's text buffer to code points of each document.

Only bytes up to the last span of a document that has spans are read, once where spans do not overlap.
Cost: ~1 GB of such text a second, 40 to 75 ns a span (one core, Xeon 2.6 GHz).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import TaggerError
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.unicode import count_code_points

SPAN_TYPE = pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32()), pa.field("score", pa.float32())])
"""Arrow type of a span; the same as `documents.SPAN_TYPE`."""

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.floating[Any]]


def span_lists(text: TextBuffers, rows: IntArray, starts: IntArray, ends: IntArray, scores: FloatArray) -> pa.ListArray:
    """Span lists (list of SPAN_TYPE, one a document) from byte positions; a list keeps the order given.

    Args:
        text: n documents.
        rows: index of each span's document, ascending, int[k].
        starts: first byte of each span in `text.data`, int[k].
        ends: byte after each span in `text.data`, int[k].
        scores: float[k].

    Raises:
        TaggerError: rows that do not ascend, a span that ends before it starts, leaves its document, or cuts a
            character in two.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    given = [np.asarray(column, np.int64) for column in (rows, starts, ends)]
    _check_lengths(*given, np.asarray(scores))
    wide_rows, wide_starts, wide_ends = given
    _check_rows(wide_rows, len(offsets) - 1)
    order = None
    if np.any((wide_rows[1:] == wide_rows[:-1]) & (wide_starts[1:] < wide_starts[:-1])):
        order = np.lexsort((wide_starts, wide_rows))  # the kernel walks forwards; put back below
        wide_starts, wide_ends = wide_starts[order], wide_ends[order]
    points = np.empty((2, len(wide_rows)), np.int32)
    bad = _to_points(
        points[0], points[1], offsets, data, read_only(wide_rows), read_only(wide_starts), read_only(wide_ends)
    )
    if bad >= 0:
        row = int(wide_rows[bad])
        raise TaggerError(
            f"span {wide_starts[bad]}:{wide_ends[bad]} of document {row} of the batch is not a stretch of its text: "
            f"its bytes are {offsets[row]}:{offsets[row + 1]}. Give byte positions in `text.data` that lie in the "
            "document, start <= end, and cut no character in two."
        )
    if order is not None:
        points[:, order] = points.copy()
    return point_lists(wide_rows, points[0], points[1], scores, num_rows=len(offsets) - 1)


def point_lists(rows: IntArray, starts: IntArray, ends: IntArray, scores: FloatArray, *, num_rows: int) -> pa.ListArray:
    """Span lists from positions that are code points of their documents already; a list keeps the order given.

    Args:
        rows: index of each span's document, ascending, int[k].
        starts: int[k].
        ends: exclusive, int[k].
        scores: float[k].
        num_rows: documents in the batch.
    """
    _check_rows(np.asarray(rows), num_rows)
    return _lists(np.searchsorted(rows, np.arange(num_rows + 1)).astype(np.int32), starts, ends, scores)


def line_lists(lines: Tokens, flags: NDArray[np.uint8], bits: Sequence[int]) -> list[pa.ListArray]:
    """For each of some bits the spans of the lines whose flags have it, with their newlines; their scores are 1.0.

    Args:
        lines: `split_lines` of n documents; an empty line at the end of one has no span.
        flags: uint8[lines].
        bits: each a power of 2.
    """
    counts = [int(np.count_nonzero(flags & bit)) for bit in bits]
    offsets = np.zeros((len(bits), len(lines.rows)), np.int32)
    points = np.empty((2, sum(counts)), np.int32)
    ends = np.cumsum([0, *counts])
    _to_line_points(points[0], points[1], offsets, lines.rows, lines.chars, read_only(flags), np.array(bits), ends[:-1])
    made = []
    for k, first in enumerate(ends[:-1].tolist()):
        part = slice(first, first + int(offsets[k, -1]))
        made.append(_lists(offsets[k], points[0, part], points[1, part], np.ones(offsets[k, -1], np.float32)))
    return made


def _lists(offsets: NDArray[np.int32], starts: IntArray, ends: IntArray, scores: FloatArray) -> pa.ListArray:
    """Span lists of n documents by `offsets`, int32[n + 1]."""
    values = pa.StructArray.from_arrays(
        [
            pa.array(np.asarray(starts, np.int32)),
            pa.array(np.asarray(ends, np.int32)),
            pa.array(np.asarray(scores, np.float32)),
        ],
        fields=list(SPAN_TYPE),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def covered_chars(*lists: pa.ListArray) -> NDArray[np.int64]:
    """Code points of each document that lie in a span of any of these lists, int64[n]; those in several count once.

    Args:
        lists: one or more, each of n documents; their spans in any order.
    """
    rows = np.concatenate([pc.list_parent_indices(one).to_numpy(zero_copy_only=False) for one in lists])
    spans = [[part.to_numpy(zero_copy_only=False) for part in one.flatten().flatten()] for one in lists]
    starts, ends = (np.concatenate([one[k] for one in spans]).astype(np.int64) for k in range(2))
    order = np.lexsort((starts, rows))
    rows, starts, ends = rows[order].astype(np.int64), starts[order], ends[order]
    base = rows << 32  # a document's spans begin behind all of the one before it
    reached = np.concatenate([[0], np.maximum.accumulate(base + ends)])[: len(rows)]
    new = np.maximum(base + ends - np.maximum(base + starts, reached), 0)
    return np.bincount(rows, new, len(lists[0])).astype(np.int64)


def _check_lengths(*columns: NDArray[Any]) -> None:
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise TaggerError(f"rows, starts, ends and scores of spans have different lengths: {lengths}")


def _check_rows(rows: IntArray, num_rows: int) -> None:
    if len(rows) and (rows[0] < 0 or rows[-1] >= num_rows or np.any(rows[1:] < rows[:-1])):
        raise TaggerError(f"rows of spans must ascend, from 0 to {num_rows - 1} in this batch")


@njit(cache=True, nogil=True)
def _to_points(point_starts: Any, point_ends: Any, offsets: Any, data: Any, rows: Any, starts: Any, ends: Any) -> Any:
    """Fills the code points; returns the first span that does not lie in its document, or -1. Starts must ascend."""
    row = np.int64(-1)
    origin = stop = np.int64(0)
    at = point = np.int64(0)  # where the last span ended, and
    back = back_point = np.int64(0)  # where it started: the next one may start inside it
    for k in range(len(rows)):
        if rows[k] != row:
            row = rows[k]
            origin, stop = np.int64(offsets[row]), np.int64(offsets[row + 1])
            at, point, back, back_point = origin, np.int64(0), origin, np.int64(0)
        start, end = starts[k], ends[k]
        if start < origin or end < start or end > stop:
            return k
        if (start < stop and data[start] & 0xC0 == 0x80) or (end < stop and data[end] & 0xC0 == 0x80):
            return k
        if start < at:
            at, point = back, back_point
        point += count_code_points(data, at, start)
        back, back_point = start, point
        point_starts[k] = point
        point += count_code_points(data, start, end)
        point_ends[k] = point
        at = end
    return -1


@njit(cache=True, nogil=True)
def _to_line_points(
    starts: Any, ends: Any, offsets: Any, rows: Any, chars: Any, flags: Any, bits: Any, first: Any
) -> None:
    """Fills the code points of lines, those of each bit from `first` on, and the offsets of each bit's lists."""
    count = np.zeros(len(bits), np.int64)
    for row in range(len(rows) - 1):
        at = np.int64(0)
        for line in range(rows[row], rows[row + 1]):
            end = at + chars[line] + np.int64(line + 1 < rows[row + 1])
            if flags[line] and end > at:
                for k in range(len(bits)):
                    if flags[line] & bits[k]:
                        starts[first[k] + count[k]], ends[first[k] + count[k]] = at, end
                        count[k] += 1
            at = end
        for k in range(len(bits)):
            offsets[k, row + 1] = count[k]


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    span_lists(ONE_TEXT, np.array([0]), np.array([0]), np.array([1]), np.ones(1))
    line_lists(ONE_TOKEN, np.ones(1, np.uint8), [1])
