"""From what a tagger returns to one struct column: every field there, of its declared type, with honest values.

Fields are declared, so that an empty shard has a schema and a misspelt field is an error, not a missing column.
What leaves here never holds NaN, an infinity, a null inside a struct, or a span outside its text: DuckDB sorts NaN
above every number (`NaN > 0.1` is true), so one NaN would pass filters that it should fail.
Cost: some microseconds a field and batch; fields of spans add one count of code points a batch (~5 GB/s).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.documents import SPANS_TYPE, Batch, Span
from dolma_pipeline.errors import TaggerError

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What names of taggers and of columns look like: they are SQL names and folders too."""

FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""What names of fields look like. For SQL two that differ in capitals alone are one."""

ARROW_TYPES: list[tuple[Any, pa.DataType]] = [
    (bool, pa.bool_()),
    (int, pa.int64()),
    (float, pa.float64()),
    (str, pa.string()),
    (list[Span], SPANS_TYPE),
]
"""Declared type of a field, and the Arrow type of its column."""

MAX_SCORE = float(np.finfo(np.float32).max)
"""Scores are float32: a larger one would be an infinity."""

BOUNDS = "0 <= start <= end <= length must hold"


class Columns:
    """The declared fields of one tagger, and the checks of what it returns.

    Args:
        tagger: its name, for messages.
        fields: field -> bool, int, float, str or list[Span].

    Raises:
        TaggerError: no fields, a wrong name or an unknown type.
    """

    def __init__(self, tagger: str, fields: Any) -> None:
        self.tagger = tagger
        self.fields = checked_fields(tagger, fields)
        self.types = {field: _arrow_type(kind) for field, kind in self.fields.items()}
        self.type: pa.StructType = pa.struct([pa.field(field, type_) for field, type_ in self.types.items()])

    def row(self, got: Any, *, num_chars: int) -> dict[str, Any]:
        """One document's values, field by field, each of its declared type.

        Args:
            got: what a function tagger returned.
            num_chars: code points of the text; no span ends behind them.

        Raises:
            TaggerError: other fields than declared, another type, NaN, or a span outside the text.
        """
        self._check_keys(got)
        return {field: self._value(field, got[field], num_chars) for field in self.fields}

    def blank_row(self) -> dict[str, Any]:
        """Values for a row whose struct is null anyway."""
        return {field: [] if kind == list[Span] else kind() for field, kind in self.fields.items()}

    def from_rows(self, rows: Sequence[Mapping[str, Any]], *, failed: Sequence[int] = ()) -> pa.StructArray:
        """The struct column of rows that `row` or `blank_row` made; those numbered in `failed` are null."""
        columns = [self._array(field, [row[field] for row in rows]) for field in self.fields]
        mask = np.zeros(len(rows), bool)
        mask[list(failed)] = True
        return pa.StructArray.from_arrays(columns, fields=list(self.type), mask=pa.array(mask) if failed else None)

    def from_columns(self, got: Any, batch: Batch) -> pa.StructArray:
        """The struct column of what a class tagger returned: field -> Arrow array, numpy array or list.

        Raises:
            TaggerError: other fields than declared, another type or length, a null, NaN, or a span outside its text.
        """
        self._check_keys(got)
        columns = []
        for field in self.fields:
            column = self._column(field, got[field])
            if len(column) != len(batch):
                raise self._broken(field, f"has {len(column)} values for {len(batch)} documents")
            if column.null_count:
                raise self._broken(field, f"has {column.null_count} null values; too short = 0, none = an empty list")
            if pa.types.is_floating(column.type):
                self._check_numbers(field, column, batch)
            elif column.type == SPANS_TYPE:
                self._check_spans(field, column, batch)
            columns.append(column)
        return pa.StructArray.from_arrays(columns, fields=list(self.type))

    def _value(self, field: str, value: Any, num_chars: int | None) -> Any:
        kind = self.fields[field]
        is_bool = isinstance(value, (bool, np.bool_))
        if kind is bool and is_bool:
            return bool(value)
        if kind is int and isinstance(value, (int, np.integer)) and not is_bool:
            return int(value)
        if kind is float and isinstance(value, (float, int, np.floating, np.integer)) and not is_bool:
            if not math.isfinite(value):
                raise self._broken(field, f"is {float(value)}; a value is always a number (too short = 0.0)")
            return float(value)
        if kind is str and isinstance(value, str):
            return value
        if kind == list[Span] and isinstance(value, (list, tuple)):
            return [self._span(field, span, num_chars) for span in value]
        raise self._broken(field, f"is declared {_kind_name(kind)}, but a document got {short(value)}")

    def _span(self, field: str, span: Any, num_chars: int | None) -> tuple[int, int, float]:
        if not isinstance(span, (tuple, list)) or len(span) not in (2, 3):
            raise self._broken(field, f"holds {short(span)}, which is not a Span(start, end, score)")
        start, end, score = span if len(span) == 3 else (span[0], span[1], 1.0)
        if not all(isinstance(at, (int, np.integer)) and not isinstance(at, bool) for at in (start, end)):
            raise self._broken(field, f"holds {short(span)}: start and end are whole numbers")
        if not isinstance(score, (float, int, np.floating, np.integer)) or not abs(float(score)) <= MAX_SCORE:
            raise self._broken(field, f"holds {short(span)}: a score is a finite number")
        if not 0 <= start <= end or (num_chars is not None and end > num_chars):
            length = "" if num_chars is None else f" in a text of {num_chars} code points"
            raise self._broken(field, f"holds Span({start}, {end}){length}: {BOUNDS}")
        return int(start), int(end), float(score)

    def _array(self, field: str, values: list[Any]) -> pa.Array:
        type_ = self.types[field]
        try:
            return pa.array(values, type_)
        except (OverflowError, UnicodeError, pa.ArrowException) as error:
            raise self._broken(field, f"does not fit its column ({type_}): {error}") from error

    def _column(self, field: str, value: Any) -> pa.Array:
        type_ = self.types[field]
        if isinstance(value, pa.ChunkedArray):
            value = value.combine_chunks()
        elif isinstance(value, np.ndarray):
            if value.ndim != 1:
                raise self._broken(field, f"has {value.ndim} dimensions {value.shape}; a column has one")
            value = value.tolist() if value.dtype.kind == "O" else pa.array(value)
        if isinstance(value, (list, tuple)):
            return self._array(field, [self._value(field, item, None) for item in value])
        if not isinstance(value, pa.Array):
            raise self._broken(field, f"is {short(value)}; a column is an Arrow array, a numpy array or a list")
        if value.type == type_:
            return value
        if not _may_become(value.type, type_):
            kind = _kind_name(self.fields[field])
            raise self._broken(field, f"is declared {kind}, but got a column of {value.type}")
        try:
            return value.cast(type_)
        except pa.ArrowInvalid as error:
            raise self._broken(field, f"does not fit its column ({type_}): {error}") from error

    def _check_numbers(self, field: str, column: pa.Array, batch: Batch) -> None:
        values = column.to_numpy(zero_copy_only=False)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argmin(finite))
            what = f"is {values[row]} in {_document(batch, row)}; a value is always a number (too short = 0.0)"
            raise self._broken(field, what)

    def _check_spans(self, field: str, column: pa.Array, batch: Batch) -> None:
        spans = column.flatten()
        if len(spans) == 0:
            return
        if spans.null_count or any(child.null_count for child in spans.flatten()):
            raise self._broken(field, "holds a null among its spans")
        starts, ends, scores = (child.to_numpy(zero_copy_only=False) for child in spans.flatten())
        nums = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        wrong = (starts < 0) | (starts > ends) | (ends > np.repeat(batch.chars, nums))
        finite = np.isfinite(scores)
        if not wrong.any() and finite.all():
            return
        at = int(np.argmax(wrong if wrong.any() else ~finite))
        row = int(np.searchsorted(np.cumsum(nums), at, side="right"))
        if wrong.any():
            where = f"in {_document(batch, row)}, a text of {batch.chars[row]} code points"
            raise self._broken(field, f"holds Span({starts[at]}, {ends[at]}) {where}: {BOUNDS}")
        raise self._broken(field, f"holds a span with score {scores[at]} in {_document(batch, row)}; a score is finite")

    def _check_keys(self, got: Any) -> None:
        if not isinstance(got, Mapping):
            raise TaggerError(f"tagger '{self.tagger}' returned {short(got)}; it returns field -> value")
        if got.keys() != self.fields.keys():
            missing = [field for field in self.fields if field not in got]
            more = [str(key) for key in got if key not in self.fields]
            faults = [f"left out {', '.join(missing)}"] * bool(missing)
            faults += [f"returned {', '.join(more)}, undeclared"] * bool(more)
            what = f"its fields are {', '.join(self.fields)}, and all are returned, always"
            raise TaggerError(f"tagger '{self.tagger}' {' and '.join(faults)}; {what}")

    def _broken(self, field: str, what: str) -> TaggerError:
        return TaggerError(f"tagger '{self.tagger}': field '{field}' {what}")


def checked_fields(tagger: str, fields: Any) -> dict[str, Any]:
    """The fields as a dict of its own.

    Raises:
        TaggerError: no fields, a wrong name or an unknown type.
    """
    if not isinstance(fields, Mapping) or not fields:
        raise TaggerError(f"tagger '{tagger}': fields is {short(fields)}; it is field -> type, e.g. {{'share': float}}")
    for field, kind in fields.items():
        if not isinstance(field, str) or not FIELD.fullmatch(field):
            raise TaggerError(
                f"tagger '{tagger}': a field cannot be named {field!r}: a name is letters, digits and '_', a letter "
                "first"
            )
        alike = [other for other in fields if other != field and str(other).lower() == field.lower()]
        if alike:
            raise TaggerError(f"tagger '{tagger}': SQL cannot tell the fields '{field}' and '{alike[0]}' apart")
        if not any(kind == known for known, _ in ARROW_TYPES):
            there = "there are bool, int, float, str and list[Span]"
            raise TaggerError(f"tagger '{tagger}': field '{field}' has type {_kind_name(kind)}; {there}")
    return dict(fields)


def short(value: Any) -> str:
    """Type and value for a message, cut to 60 characters: a value may be a text."""
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:59] + '…'}"


def _document(batch: Batch, row: int) -> str:
    """A document for a message: its origin, or its row in a batch of no shard."""
    return f"document {batch.shard}#{batch.first_row + row}" if batch.shard else f"row {row}"


def _arrow_type(kind: Any) -> pa.DataType:
    return next(type_ for known, type_ in ARROW_TYPES if kind == known)


def _kind_name(kind: Any) -> str:
    return "list[Span]" if kind == list[Span] else str(getattr(kind, "__name__", repr(kind)))


def _may_become(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast keeps the meaning; the cast itself still refuses what does not fit."""
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(found))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    if pa.types.is_string(wanted):
        return bool(pa.types.is_large_string(found) or pa.types.is_string_view(found))
    if pa.types.is_list(wanted) and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        inner = found.value_type
        return bool(
            pa.types.is_null(inner)  # only empty lists
            or (
                pa.types.is_struct(inner)
                and [field.name for field in inner] == ["start", "end", "score"]
                and pa.types.is_integer(inner[0].type)
                and pa.types.is_integer(inner[1].type)
                and pa.types.is_floating(inner[2].type)
            )
        )
    return False
