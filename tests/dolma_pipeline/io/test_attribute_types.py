"""Any Arrow type as one of the few that attributes have."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dolma_pipeline.documents import SPANS_TYPE, is_spans
from dolma_pipeline.io.attribute_types import canonical, is_number_lists, is_open, may_become, settled

SPAN = pa.struct([("start", pa.int64()), ("end", pa.float64())])


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        *((kind, pa.int64()) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *((kind, pa.int64()) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        *((kind, pa.int64()) for kind in (pa.decimal32(5), pa.decimal64(9), pa.decimal256(60, -2))),
        *((kind, pa.float64()) for kind in (pa.decimal32(5, 1), pa.decimal256(60, 9), pa.float64())),
        (pa.float16(), pa.float32()),
        (pa.float32(), pa.float32()),
        (pa.bool_(), pa.bool_()),
        *((kind, pa.string()) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.uint8()), pa.int64()),
        (pa.list_(pa.float16()), pa.list_(pa.float32())),
        (pa.list_view(pa.uint8()), pa.list_(pa.int64())),
        (pa.list_(pa.uint8(), 3), pa.list_(pa.int64())),
        (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int64())])),
        (pa.timestamp("ns", "UTC"), pa.timestamp("ns", "UTC")),
        (pa.binary(), pa.binary()),
        (pa.null(), pa.null()),
    ],
)  # fmt: skip
def test_every_type_has_one_form(type_: pa.DataType, expected: pa.DataType) -> None:
    assert canonical(type_) == expected
    assert canonical(expected) == expected
    assert may_become(type_, expected)


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view, lambda t: pa.list_(t, 2)])
def test_lists_of_structs_with_start_and_end_are_span_lists(kind: object) -> None:
    make = kind
    assert callable(make)
    for fields in (
        [("start", pa.int8()), ("end", pa.uint64())],
        [("score", pa.float16()), ("end", pa.float64()), ("start", pa.float32())],
        [("end", pa.decimal128(9, 0)), ("start", pa.int64()), ("score", pa.bool_())],
    ):
        assert canonical(make(pa.struct(fields))) == SPANS_TYPE
    more = canonical(make(pa.struct([("label", pa.large_string()), ("end", pa.int64()), ("start", pa.int64())])))
    assert is_spans(more)
    assert [field.name for field in more.value_type] == ["start", "end", "score", "label"]
    assert more.value_type.field("label").type == pa.string()


@pytest.mark.parametrize(
    "inner",
    [
        pa.struct([("start", pa.int64())]),
        pa.struct([("start", pa.string()), ("end", pa.string())]),
        pa.struct([("start", pa.timestamp("s")), ("end", pa.timestamp("s"))]),
        pa.int64(),
    ],
)
def test_other_lists_are_no_spans(inner: pa.DataType) -> None:
    assert not is_spans(canonical(pa.list_(inner)))
    assert not may_become(pa.list_(inner), SPANS_TYPE)


def test_what_says_nothing_may_become_anything_of_its_kind() -> None:
    nothing, empty = pa.null(), pa.list_(pa.null())
    assert is_open(nothing)
    assert is_open(empty)
    assert not is_open(SPANS_TYPE)
    assert settled(empty) == SPANS_TYPE
    assert settled(pa.int64()) == pa.int64()
    for wanted in (pa.int64(), pa.string(), SPANS_TYPE):
        assert may_become(nothing, wanted)
    assert may_become(empty, SPANS_TYPE)
    assert may_become(empty, pa.list_(pa.string()))
    assert not may_become(empty, pa.string())


def test_kinds_do_not_become_each_other() -> None:
    one_of_each = [pa.int64(), pa.string(), pa.bool_(), SPANS_TYPE, pa.struct([("a", pa.int64())]), pa.timestamp("s")]
    for found in one_of_each:
        for wanted in one_of_each:
            assert may_become(found, wanted) == (found == wanted)
    assert may_become(pa.int8(), pa.float64())
    assert may_become(pa.float64(), pa.int64())  # pandas makes doubles of integers with a null
    assert may_become(pa.struct([("a", pa.int8()), ("b", pa.int8())]), pa.struct([("a", pa.float64())]))
    assert not may_become(pa.struct([("b", pa.int8())]), pa.struct([("a", pa.int64())]))


def test_lists_of_number_lists_are_told() -> None:
    assert is_number_lists(pa.list_(pa.list_(pa.float64())))
    assert is_number_lists(pa.large_list(pa.list_(pa.int8(), 3)))
    assert is_number_lists(pa.list_(pa.list_(pa.null())))
    assert not is_number_lists(pa.list_(pa.float64()))
    assert not is_number_lists(pa.list_(pa.list_(pa.string())))
