"""Attributes of any Arrow type, as the few types that rules and edits know.

    int8 to int64, uint8 to uint64, decimals without digits behind the point    int64
    float16, float32                    float32 (so that a rule's `>= 0.9` is asked in the precision of the value)
    float64, other decimals             float64
    bool                                bool
    strings of any kind                 string
    dictionary, run-end encoded         what the values are
    lists of any kind                   list; of structs with numbers `start` and `end`: a span list
    struct                              struct of the same fields
    time, binary, map and the rest      as they are

int64 and not what is narrower or unsigned: in SQL `200::UTINYINT * 2` and `3::UBIGINT - 5` are errors.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import types

from dolma_pipeline.documents import SPANS_TYPE


def is_list(type_: pa.DataType) -> bool:
    """Whether a type is a list of any kind."""
    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(kind(type_) for kind in kinds)


def is_string(type_: pa.DataType) -> bool:
    """Whether a type is a string of any kind."""
    return bool(types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_))


def is_number(type_: pa.DataType) -> bool:
    """Whether a type is an integer, float or decimal."""
    return bool(types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_))


def is_number_lists(type_: pa.DataType) -> bool:
    """Whether a type is lists of lists of numbers, of any kinds."""
    if not is_list(type_) or not is_list(type_.value_type):
        return False
    inner = type_.value_type.value_type
    return is_number(inner) or bool(types.is_null(inner))


def canonical(type_: pa.DataType) -> pa.DataType:
    """The type that values of a type have here. `null`, and lists of it, say nothing yet (`is_open`) and stay."""
    if types.is_dictionary(type_) or types.is_run_end_encoded(type_):
        return canonical(type_.value_type)
    if types.is_integer(type_):
        return pa.int64()
    if types.is_decimal(type_):
        return pa.int64() if type_.scale <= 0 else pa.float64()
    if types.is_float16(type_):
        return pa.float32()
    if is_string(type_):
        return pa.string()
    if is_list(type_):
        return _canonical_list(type_.value_type)
    if types.is_struct(type_):
        return pa.struct([pa.field(field.name, canonical(field.type)) for field in type_])
    return type_


def _canonical_list(inner: pa.DataType) -> pa.DataType:
    if types.is_struct(inner) and all(
        inner.get_field_index(name) >= 0 and (is_number(kind := inner.field(name).type) or types.is_null(kind))
        for name in ("start", "end")
    ):
        others = [field for field in inner if field.name not in ("start", "end", "score")]
        more = [pa.field(field.name, canonical(field.type)) for field in others]
        return pa.list_(pa.struct([*SPANS_TYPE.value_type, *more])) if more else SPANS_TYPE
    return pa.list_(canonical(inner))


def is_open(type_: pa.DataType) -> bool:
    """Whether a file says nothing of a field's type: all its values are null, or empty lists."""
    return bool(types.is_null(type_) or (types.is_list(type_) and types.is_null(type_.value_type)))


def settled(type_: pa.DataType) -> pa.DataType:
    """The type of a field of which no file says more: lists that are all empty are lists of no spans."""
    return SPANS_TYPE if types.is_list(type_) and types.is_null(type_.value_type) else type_


def may_become(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type are values of a canonical type; a single one may still not fit."""
    found = canonical(found)
    if found == wanted or types.is_null(found) or (is_open(found) and types.is_list(wanted)):
        return True
    if is_number(found) and is_number(wanted):
        return True
    if types.is_list(found) and types.is_list(wanted):
        return may_become(found.value_type, wanted.value_type)
    if types.is_struct(found) and types.is_struct(wanted):
        return all(
            found.get_field_index(one.name) >= 0 and may_become(found.field(one.name).type, one.type) for one in wanted
        )
    return False
