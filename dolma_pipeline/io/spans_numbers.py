"""Span lists from Arrow lists of number lists: Dolma's `[[start, end, score], …]` where a tool made Parquet of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attribute_columns import converted
from dolma_pipeline.io.attribute_values import BadValueError, Lists, lists_of, number


def number_list_spans(array: pa.Array) -> pa.ListArray:
    """Span lists of n rows; a null list is an empty one, as a name that a line of Dolma's does not have.

    Args:
        array: lists of lists of two or three numbers, of any kinds.

    Raises:
        BadValueError: an invalid span; names the row.
    """
    lists = lists_of(array)
    try:
        spans = _spans(lists_of(lists.values))
    except BadValueError as error:
        raise BadValueError(lists.row(error.row), error.what) from error
    column: pa.ListArray = converted(lists._replace(null=np.zeros(len(array), bool)).array(spans, None), SPANS_TYPE)
    return column


def _spans(inner: Lists) -> pa.StructArray:
    sizes = np.diff(inner.offsets)
    wrong = np.flatnonzero((sizes < 2) | (sizes > 3))
    if len(wrong):
        row = int(wrong[0])
        have = "null" if inner.null[row] else f"{sizes[row]} numbers"
        raise BadValueError(row, f"expected a span [start, end, score], found {have}")
    values = pa.array([], pa.float64()) if len(inner.values) == 0 else _numbers(inner)
    firsts = inner.offsets[:-1]
    scores = values.take(pa.array(firsts + 2, mask=sizes == 2))
    return pa.StructArray.from_arrays(
        [
            values.take(pa.array(firsts)),
            values.take(pa.array(firsts + 1)),
            pc.if_else(pa.array(sizes == 2), 1.0, scores),
        ],
        names=["start", "end", "score"],
    )


def _numbers(inner: Lists) -> pa.Array:
    if pa.types.is_null(inner.values.type):
        return pa.nulls(len(inner.values), pa.float64())
    try:
        return number(inner.values, pa.float64())
    except BadValueError as error:
        raise BadValueError(inner.row(error.row), error.what) from error
