"""Columns of attributes of any Arrow type, as the types of `io.attribute_types`; NaN as null, at any depth."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from dolma_pipeline.documents import is_spans
from dolma_pipeline.io.attribute_types import is_list, is_number, is_string
from dolma_pipeline.io.attribute_values import BadValueError, lists_of, number
from dolma_pipeline.io.spans_given import span_column


def converted(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Values as a canonical type that they may become.

    Args:
        array: n values of any type. wanted: see `may_become`.

    Returns:
        n values; nulls where there were nulls or NaN.

    Raises:
        BadValueError: a value that does not fit.
    """
    type_ = array.type
    if types.is_dictionary(type_):
        return converted(array.dictionary_decode(), wanted)
    if types.is_run_end_encoded(type_):
        return converted(pc.run_end_decode(array), wanted)
    if types.is_null(type_):
        return pa.nulls(len(array), wanted)
    if is_number(type_) and is_number(wanted):
        return number(array, wanted)
    if is_string(type_):
        return _text(array)
    if is_list(type_):
        return _list(array, wanted)
    if types.is_struct(type_):
        return _struct(array, wanted)
    return array


def _text(array: pa.Array) -> pa.Array:
    array = array if types.is_string(array.type) else array.cast(pa.string())
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(len(array)):
            try:
                array.slice(row, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                raise BadValueError(row, "a string that is not valid UTF-8") from error
        raise
    return array


def _list(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if is_spans(wanted):
        return span_column(array, wanted, convert=converted)
    lists = lists_of(array)
    try:
        values = converted(lists.values, wanted.value_type)
    except BadValueError as error:
        raise BadValueError(lists.row(error.row), error.what) from error
    return array if values is lists.values and array.type == wanted else lists.array(values, wanted)


def _struct(array: pa.StructArray, wanted: pa.StructType) -> pa.Array:
    children = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
    made = [converted(children[field.name], field.type) for field in wanted]
    if array.type == wanted and all(one is children[field.name] for one, field in zip(made, wanted, strict=True)):
        return array
    return pa.StructArray.from_arrays(made, fields=list(wanted), mask=array.is_null() if array.null_count else None)
