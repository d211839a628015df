"""Span lists from JSON: `[[start, end, score], …]`, as Dolma writes them and as others do.

Starts and ends are whole numbers, also where they are written `5.0`. A score is a number, a flag (1 or 0) or null
(null for SQL); a span without one, `[start, end]`, has score 1.0. A list that is null is a null for SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.io.attribute_columns import converted
from dolma_pipeline.io.attribute_values import BadValueError

_PLACES = {int, float}
_SCORES = {int, float, bool, type(None)}
_RAW = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("score", pa.float64())])


def span_lists(values: Sequence[Any]) -> pa.ListArray:
    """Span lists of n rows.

    Args:
        values: what stood in each row.

    Raises:
        BadValueError: not a list of spans; names the row.
    """
    spans = list(chain.from_iterable(value for value in values if value)) if _are_lists(values) else None
    if spans is None or not {*map(type, spans)} <= {list}:
        raise _fault(values)
    columns = _triples(spans)
    if columns is None and not _are_spans(spans):
        raise _fault(values)
    children = [pa.array(column, pa.float64()) for column in columns or _columns(spans)]
    offsets = np.cumsum([0, *(len(value or ()) for value in values)])
    mask = pa.array([value is None for value in values]) if None in values else None
    raw = pa.StructArray.from_arrays(children, fields=list(_RAW))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), raw, mask=mask)
    column: pa.ListArray = converted(lists, SPANS_TYPE)
    return column


def _triples(spans: list[list[Any]]) -> list[Any] | None:
    """Starts, ends and scores, where each span is three numbers: what nearly all are. None: they are not."""
    numbers = list(chain.from_iterable(spans))
    if {*map(type, numbers)} <= _PLACES and {*map(len, spans)} <= {3}:
        return [*np.array(numbers, np.float64).reshape(-1, 3).T]
    return None


def _columns(spans: list[list[Any]]) -> list[Any]:
    scores = [1.0 if len(span) == 2 else None if span[2] is None else float(span[2]) for span in spans]
    return [[float(span[0]) for span in spans], [float(span[1]) for span in spans], scores]


def _are_lists(values: Sequence[Any]) -> bool:
    return {*map(type, values)} <= {list, type(None)}


def _are_spans(spans: Sequence[Any]) -> bool:
    return (
        {*map(len, spans)} <= {2, 3}
        and {type(place) for span in spans for place in span[:2]} <= _PLACES
        and {type(span[2]) for span in spans if len(span) == 3} <= _SCORES
    )


def _fault(values: Sequence[Any]) -> BadValueError:
    for row, value in enumerate(values):
        if not _are_lists([value]):
            return BadValueError(row, f"expected a list of spans [start, end, score], found {_shown(value)}")
        for span in value or ():
            if type(span) is not list or len(span) not in (2, 3):
                return BadValueError(row, f"expected a span [start, end, score], found {_shown(span)}")
            if not _are_spans([span[:2]]):
                return BadValueError(row, f"span {_shown(span)}: start and end must be whole numbers")
            if not _are_spans([span]):
                return BadValueError(row, f"span {_shown(span)}: the score must be a number, true, false or null")
    raise AssertionError("span lists that are wrong as a whole are wrong somewhere")


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"
