"""Columns of any Arrow type in their written form (`io.written`): as text, as `metadata`, and as values for JSON.

Every type has one. Columns that are strings already are passed on without a Python object; whole numbers are cast by
Arrow; everything else becomes Python values column by column, never cell by cell through Arrow's scalars, which stop
at what Python cannot hold (the year 10,000, a zone that is not known).

    null                              null
    bool, bool8                       true, false
    int8 to int64, uint8 to uint64    as they are
    float16, float32, float64         as the double that they are; NaN and the infinities: null
    string, large_string, string_view as they are
    binary and its kin                text (hex where it is not UTF-8)
    decimal32 to decimal256, uuid, date, time, timestamp, duration, interval: text
    list and its kin, struct, map     arrays and objects; keys of a map in their form as text; of a repeated key the
                                      last counts
    dictionary, run-end encoded, union: the form of the value
    json                              the value that it spells (a string where it spells none)
    other extension types             the form of their storage
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import types

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import written

_TO_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
_MOST_PLAIN_SCALE = 6


def id_text(value: object) -> str | None:
    """The written form of an id that is a Python value; null stays null.

    Raises:
        TooDeepError: objects or lists of more than 253 levels.
    """
    return written.text_or_none(value)


def id_column(ids: pa.Array) -> pa.StringArray:
    """The written form of ids of any type, string[n]: equal to `id_text` of each. Bytes that are not text give none."""
    try:
        return text_column(ids)
    except UnicodeDecodeError:
        return pa.concat_arrays([_id_or_null(ids.slice(row, 1)) for row in range(len(ids))])


def _id_or_null(array: pa.Array) -> pa.StringArray:
    try:
        return text_column(array)
    except UnicodeDecodeError:
        return pa.nulls(1, pa.string())


def is_text(type_: pa.DataType) -> bool:
    """Whether values of a type are texts or the bytes of texts, also where they are encoded."""
    if isinstance(type_, pa.BaseExtensionType):
        return not isinstance(type_, pa.UuidType) and is_text(type_.storage_type)
    if types.is_dictionary(type_) or types.is_run_end_encoded(type_):
        return is_text(type_.value_type)
    return _is_string(type_) or _is_binary(type_)


def can_be_taken(type_: pa.DataType) -> bool:
    """Whether these are strings or bytes of which Arrow can pick some; it cannot where they are views."""
    return bool(types.is_string(type_) or types.is_large_string(type_) or types.is_binary(type_))


def text_column(array: pa.Array, *, bytes_are_text: bool = False) -> pa.StringArray:
    """A column as text, string[n].

    Args:
        bytes_are_text: whether bytes that are not UTF-8 are an error, and not hex.

    Raises:
        UnicodeDecodeError: a string that is not valid UTF-8.
        TooDeepError: more than 253 levels.
    """
    type_ = array.type
    if types.is_dictionary(type_):
        values, indices = array.dictionary, array.indices
        if len(values) > len(indices) and can_be_taken(values.type):
            return text_column(values.take(indices), bytes_are_text=bytes_are_text)
        return text_column(values, bytes_are_text=bytes_are_text).take(indices)
    if types.is_run_end_encoded(type_):
        return text_column(array.values, bytes_are_text=bytes_are_text).take(_run_indices(array))
    if is_text(type_) and isinstance(type_, pa.BaseExtensionType) and not isinstance(type_, pa.JsonType):
        return text_column(array.storage, bytes_are_text=bytes_are_text)
    if _is_string(type_):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            array.to_pylist()  # says where
            raise
        return array if types.is_string(type_) else array.cast(pa.string())
    if _is_binary(type_):
        try:
            return array.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:  # some of it is not UTF-8
            if bytes_are_text:
                for value in array.to_pylist():
                    (value or b"").decode()
    elif _is_written_by_arrow(type_):
        return array.cast(pa.string())
    return pa.array([written.text_or_none(value) for value in json_values(array)], pa.string())


def metadata_column(array: pa.Array) -> list[str]:
    """A column as the JSON text of `metadata`, n strings: texts as `written.metadata_text` takes them, null as {}.

    Raises:
        UnicodeDecodeError: a string that is not valid UTF-8.
        TooDeepError: more than 253 levels.
    """
    type_ = array.type
    if is_text(type_):
        texts = text_column(array.storage if isinstance(type_, pa.BaseExtensionType) else array)
        return ["{}" if text is None else written.metadata_text(text) for text in texts.to_pylist()]
    forms = [written.member_text(value) for value in json_values(array)]
    return ["{}" if form == "null" else form for form in forms]


def json_values(array: pa.Array) -> list[Any]:
    """A column as values that JSON can write: None, bool, int, float, str, list, dict; n of them.

    Raises:
        UnicodeDecodeError: a string, at any depth, that is not valid UTF-8.
        DataError: a type that Arrow got after this was written.
    """
    if len(array) == 0:
        return []
    for is_kind, values in _FORMS:
        if is_kind(array.type):
            return values(array)
    raise DataError(f"values of Arrow's type {array.type} cannot be read.")


def _is_written_by_arrow(type_: pa.DataType) -> bool:
    """Whether Arrow's cast gives the written form: a decimal has an exponent where its first digit comes too late."""
    plain = types.is_decimal(type_) and 0 <= type_.scale <= _MOST_PLAIN_SCALE
    return bool(plain or types.is_integer(type_) or types.is_boolean(type_))


def _is_string(type_: pa.DataType) -> bool:
    return bool(types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_))


def _is_binary(type_: pa.DataType) -> bool:
    return bool(
        types.is_binary(type_)
        or types.is_large_binary(type_)
        or types.is_binary_view(type_)
        or types.is_fixed_size_binary(type_)
    )


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        types.is_list(type_)
        or types.is_large_list(type_)
        or types.is_fixed_size_list(type_)
        or types.is_list_view(type_)
        or types.is_large_list_view(type_)
    )


def _is_extension(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.BaseExtensionType)


def _as_they_are(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _each(form: Callable[[Any], str]) -> Callable[[pa.Array], list[Any]]:
    def values(array: pa.Array) -> list[Any]:
        return [None if value is None else form(value) for value in array.to_pylist()]

    return values


def _microseconds(array: pa.Array) -> list[int | None]:
    factor, divisor = _TO_MICROSECONDS[array.type.unit]
    integers = array.view(pa.int32() if types.is_time32(array.type) else pa.int64()).to_pylist()
    return [None if value is None else value * factor // divisor for value in integers]


def _dates(array: pa.Array) -> list[Any]:
    if types.is_date32(array.type):
        return _each(written.date_text)(array.view(pa.int32()))
    return [None if ms is None else written.date_text(ms // 86_400_000) for ms in array.view(pa.int64()).to_pylist()]


def _times(array: pa.Array) -> list[Any]:
    return [None if micros is None else written.time_text(micros) for micros in _microseconds(array)]


def _timestamps(array: pa.Array) -> list[Any]:
    zone = array.type.tz
    return [None if micros is None else written.timestamp_text(micros, zone) for micros in _microseconds(array)]


def _durations(array: pa.Array) -> list[Any]:
    return [None if micros is None else written.duration_text(micros) for micros in _microseconds(array)]


def _extensions(array: pa.Array) -> list[Any]:
    type_, storage = array.type, array.storage
    if isinstance(type_, pa.UuidType):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in storage.to_pylist()]
    if isinstance(type_, pa.Bool8Type):
        return [None if value is None else value != 0 for value in storage.to_pylist()]
    if isinstance(type_, pa.JsonType):
        return [None if text is None else _spelled(text) for text in json_values(storage)]
    return json_values(storage)


def _spelled(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _extents(array: pa.Array) -> tuple[Sequence[int], Sequence[int]]:
    """First element, and element after the last, of each list in its child array."""
    type_ = array.type
    if types.is_fixed_size_list(type_):
        size = type_.list_size
        ends = [(array.offset + row + 1) * size for row in range(len(array))]
        return [end - size for end in ends], ends
    offsets = array.offsets.to_pylist()
    if types.is_list_view(type_) or types.is_large_list_view(type_):
        return offsets, [start + size for start, size in zip(offsets, array.sizes.to_pylist(), strict=True)]
    return offsets[:-1], offsets[1:]


def _lists(array: pa.Array) -> list[Any]:
    (items,), extents = _children(array, array.values)
    return [None if extent is None else items[extent] for extent in extents]


def _maps(array: pa.Array) -> list[Any]:
    (keys, items), extents = _children(array, array.keys, array.items)
    names = [written.text_or_none(key) or ("" if key == "" else "null") for key in keys]
    return [None if e is None else dict(zip(names[e], items[e], strict=True)) for e in extents]


def _children(array: pa.Array, *children: pa.Array) -> tuple[list[list[Any]], list[slice | None]]:
    """Values of the child arrays, as far as the lists reach, and where in them each list lies (None: it is null)."""
    valid = array.is_valid().to_pylist()
    starts, ends = _extents(array)
    reached = [(start, end) for start, end, here in zip(starts, ends, valid, strict=True) if here and end > start]
    first = min((start for start, _ in reached), default=0)
    last = max((end for _, end in reached), default=0)
    pairs = zip(starts, ends, strict=True)
    extents = [slice(start - first, end - first) if end > start else slice(0, 0) for start, end in pairs]
    return (
        [json_values(child.slice(first, last - first)) for child in children],
        [extent if here else None for extent, here in zip(extents, valid, strict=True)],
    )


def _structs(array: pa.Array) -> list[Any]:
    valid = array.is_valid().to_pylist()
    names = [field.name for field in array.type]
    if not names:
        return [{} if here else None for here in valid]
    rows = zip(*map(json_values, array.flatten()), strict=True)
    return [dict(zip(names, row, strict=True)) if here else None for row, here in zip(rows, valid, strict=True)]


def _dictionaries(array: pa.Array) -> list[Any]:
    if can_be_taken(array.dictionary.type):
        return json_values(text_column(array))
    values = json_values(array.dictionary)
    return [None if i is None else values[i] for i in array.indices.to_pylist()]


def _run_indices(array: pa.Array) -> pa.Array:
    """Which value each row of a run-end encoded column has."""
    rows = np.arange(array.offset, array.offset + len(array))
    return pa.array(np.searchsorted(array.run_ends.to_numpy(), rows, side="right"))


def _runs(array: pa.Array) -> list[Any]:
    values = json_values(array.values)
    return [values[i] for i in _run_indices(array).to_pylist()]


def _unions(array: pa.Array) -> list[Any]:
    type_ = array.type
    children = {code: json_values(array.field(i)) for i, code in enumerate(type_.type_codes)}
    buffers, num_rows = array.buffers(), len(array)  # `type_codes` and `offsets` know nothing of slices
    codes = pa.Array.from_buffers(pa.int8(), num_rows, [None, buffers[1]], offset=array.offset).to_pylist()
    places: Sequence[int] = range(num_rows)
    if type_.mode == "dense":
        places = pa.Array.from_buffers(pa.int32(), num_rows, [None, buffers[2]], offset=array.offset).to_pylist()
    return [children[code][place] for code, place in zip(codes, places, strict=True)]


def _half_floats(array: pa.Array) -> list[Any]:
    return _as_they_are(array.cast(pa.float32()))


def _nulls(array: pa.Array) -> list[Any]:
    return [None] * len(array)


_FORMS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Any]]], ...] = (
    (_is_extension, _extensions),
    (_is_string, _as_they_are),
    (types.is_integer, _as_they_are),
    (types.is_boolean, _as_they_are),
    (types.is_float16, _half_floats),
    (types.is_floating, _as_they_are),
    (types.is_struct, _structs),
    (types.is_map, _maps),
    (_is_list, _lists),
    (types.is_dictionary, _dictionaries),
    (types.is_decimal, _each(written.decimal_text)),
    (types.is_date, _dates),
    (types.is_timestamp, _timestamps),
    (types.is_time, _times),
    (types.is_duration, _durations),
    (_is_binary, _each(written.bytes_text)),
    (types.is_null, _nulls),
    (types.is_run_end_encoded, _runs),
    (types.is_union, _unions),
    (types.is_interval, _each(lambda interval: written.interval_text(*interval))),
)
"""The first whose test a type passes says what its values are."""
