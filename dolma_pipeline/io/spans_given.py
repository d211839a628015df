"""Span lists that anyone wrote: start and end of any number type, with a score, a null or nothing at all.

A span whose score is not there has score 1.0, like a `Span`; a score that is null or NaN is a null for SQL. Starts and
ends are whole numbers, 0 <= start <= end; what is wrong with a span is told with the span.
Cost: about 10 ns a span where the types are ours already, 30 to 60 where they are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from dolma_pipeline.io.attribute_types import is_number
from dolma_pipeline.io.attribute_values import BadValueError, Lists, lists_of, number

MAX_END = 2**31 - 1
"""Ends are int32, and no text is as long."""
BOUNDS = "0 <= start <= end must hold"
Convert = Callable[[pa.Array, pa.DataType], pa.Array]


def span_column(array: pa.Array, wanted: pa.ListType, *, convert: Convert) -> pa.ListArray:
    """A column of span lists.

    Args:
        array: n lists of any kind, of structs with numbers `start` and `end`, in any order and among other fields.
        wanted: lists of start: int32, end: int32, score: float32 and, it may be, other fields (`documents.is_spans`).
        convert: makes those other fields the types wanted.

    Raises:
        BadValueError: a null among the spans, or an invalid span; names the list.
    """
    lists = lists_of(array)
    try:
        spans = _spans(lists.values, wanted.value_type, convert)
    except BadValueError as error:
        raise BadValueError(lists.row(error.row), error.what) from error
    return array if spans is lists.values and array.type == wanted else lists.array(spans, wanted)


def ends_behind(lists: Lists, lengths: NDArray[np.int64]) -> int | None:
    """The first list that has a span which ends behind its text; None if all lie in their texts.

    Args:
        lists: span lists, n. lengths: code points of each text, int64[n].
    """
    if len(lists.values) == 0:
        return None
    ends = lists.values.field("end").to_numpy()
    rows = np.repeat(np.arange(len(lengths)), np.diff(lists.offsets))
    wrong = np.flatnonzero(ends > lengths[rows])
    return int(rows[wrong[0]]) if len(wrong) else None


def _spans(spans: pa.Array, wanted: pa.StructType, convert: Convert) -> pa.Array:
    """Spans (k) as `wanted`; the array itself where it is that already."""
    if spans.null_count:
        raise BadValueError(_first(spans.is_null()), "a null among the spans")
    if types.is_null(spans.type) or len(spans) == 0:
        return pa.array([], wanted)
    names = [field.name for field in spans.type]
    start, end = (_place(spans, name) for name in ("start", "end"))
    wrong = np.flatnonzero((start < 0) | (end < start) | (end > MAX_END))
    if len(wrong):
        row = int(wrong[0])
        too_far = f"no text has {MAX_END} characters" if start[row] >= 0 and end[row] >= start[row] else BOUNDS
        raise BadValueError(row, f"span [{start[row]}, {end[row]}]: {too_far}")
    given = spans.field("score") if "score" in names else pa.array(np.ones(len(spans), np.float32))
    score = _scores(given)
    if spans.type == wanted and score is given and len(names) == 3:
        return spans
    more = [convert(spans.field(field.name), field.type) for field in list(wanted)[3:]]
    columns = [pa.array(start.astype(np.int32)), pa.array(end.astype(np.int32)), score, *more]
    return pa.StructArray.from_arrays(columns, fields=list(wanted))


def _place(spans: pa.StructArray, name: str) -> NDArray[np.int32] | NDArray[np.int64]:
    """The starts or ends of spans, int32[k] or int64[k]."""
    column = spans.field(name)
    if column.null_count:
        raise BadValueError(_first(column.is_null()), f"a span whose {name} is null; expected a whole number")
    if types.is_int32(column.type):  # ours: as it lies
        ours: NDArray[np.int32] = column.to_numpy()
        return ours
    if types.is_floating(column.type):
        nan = pc.is_nan(column)
        if pc.any(nan).as_py():
            raise BadValueError(_first(nan), f"a span whose {name} is NaN; expected a whole number")
    try:
        whole: NDArray[np.int64] = number(column, pa.int64()).to_numpy()
    except BadValueError as error:
        value = column[error.row].as_py()
        raise BadValueError(error.row, f"a span whose {name} is {value}; expected a whole number") from error
    return whole


def _scores(column: pa.Array) -> pa.Array:
    """Scores, float32[k]: any number or flag; null where they are null or NaN."""
    if types.is_boolean(column.type):
        return column.cast(pa.float32())
    if types.is_null(column.type):
        return pa.nulls(len(column), pa.float32())
    if not is_number(column.type):
        raise BadValueError(0, f"a span whose score is {column[0].as_py()!r} ({column.type}); expected a number")
    if types.is_float32(column.type) or types.is_float16(column.type):
        return number(column, pa.float32())
    wide = number(column if types.is_floating(column.type) else column.cast(pa.float64(), safe=False), pa.float64())
    narrow = wide.cast(pa.float32())
    beyond = pc.and_(pc.is_inf(narrow), pc.invert(pc.is_inf(wide)))
    if pc.any(beyond).as_py():
        row = _first(beyond)
        raise BadValueError(row, f"a span whose score is {column[row].as_py()}, beyond what a float32 holds")
    return narrow


def _first(flags: pa.BooleanArray) -> int:
    return int(pc.index(flags, True).as_py())
