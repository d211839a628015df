"""One written form for every Arrow type: a table of them, and nested ones against a plain twin."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.io.arrow_values import (
    id_column,
    id_text,
    is_text,
    json_values,
    metadata_column,
    text_column,
)
from dolma_pipeline.io.written import TooDeepError, json_text

UUID = uuid.UUID("00000000-0000-0000-0000-0000000000ff")


class Unheard(pa.ExtensionType):
    """An extension type that the library does not know."""

    def __init__(self, storage: pa.DataType = pa.int32()) -> None:  # noqa: B008 # a type is a constant
        super().__init__(storage, "test.unheard")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Unheard:
        return cls(storage_type)


def extension(type_: pa.DataType, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(type_, storage)


def ints(type_: pa.DataType, *values: int | None) -> pa.Array:
    """Values of a type of times as the whole numbers that they are stored as, whatever Python can hold."""
    stored = pa.int32() if type_.bit_width == 32 else pa.int64()
    return pa.array(values, stored).view(type_)


def runs(values: pa.Array, *ends: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array(ends, pa.int32()), values)


def struct(**columns: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([*columns.values()], names=[*columns])


D = decimal.Decimal
_MAP = pa.map_(pa.string(), pa.int8())

TABLE: dict[str, tuple[pa.Array, list[Any]]] = {
    "null": (pa.nulls(2), [None, None]),
    "bool": (pa.array([True, False, None]), [True, False, None]),
    "bool8": (extension(pa.bool8(), pa.array([1, 0, None], pa.int8())), [True, False, None]),
    **{
        f"int{bits}": (pa.array([-(2 ** (bits - 1)), 7, None], f"int{bits}"), [-(2 ** (bits - 1)), 7, None])
        for bits in (8, 16, 32, 64)
    },
    **{f"uint{bits}": (pa.array([2**bits - 1, 0], f"uint{bits}"), [2**bits - 1, 0]) for bits in (8, 16, 32, 64)},
    "float16": (pa.array([1.5, math.nan, math.inf, None], pa.float16()), [1.5, None, None, None]),
    "float32": (pa.array([1.5, math.nan, -math.inf, None], pa.float32()), [1.5, None, None, None]),
    "float64": (pa.array([0.1, math.nan, -math.inf, -0.0]), [0.1, None, None, -0.0]),
    "string": (pa.array(["é", "", None]), ["é", "", None]),
    "large_string": (pa.array(["é", "", None], pa.large_string()), ["é", "", None]),
    "string_view": (pa.array(["é" * 20, "", None], pa.string_view()), ["é" * 20, "", None]),
    "binary": (pa.array(["é".encode(), b"\xff\0", None]), ["é", "ff00", None]),
    "large_binary": (pa.array([b"a", b"\xff"], pa.large_binary()), ["a", "ff"]),
    "binary_view": (pa.array([b"a" * 20, b"\xff", None], pa.binary_view()), ["a" * 20, "ff", None]),
    "fixed_size_binary": (pa.array([b"ab", b"\xff\xfe", None], pa.binary(2)), ["ab", "fffe", None]),
    "decimal32": (pa.array([D("1.50"), D("-0.01"), None], pa.decimal32(9, 2)), ["1.50", "-0.01", None]),
    "decimal64": (pa.array([D("7"), D("0")], pa.decimal64(18, 0)), ["7", "0"]),
    "decimal128": (pa.array([D("1.50"), D("0")], pa.decimal128(38, 2)), ["1.50", "0.00"]),
    "decimal128 small": (
        pa.array([D("0.0000000001"), D("0"), None], pa.decimal128(20, 10)),
        ["0.0000000001", "0.0000000000", None],
    ),
    "decimal128 negative scale": (pa.array([D("12300")], pa.decimal128(5, -2)), ["12300"]),
    "decimal256": (pa.array([D("9" * 76), None], pa.decimal256(76, 0)), ["9" * 76, None]),
    "date32": (
        ints(pa.date32(), 0, 19_724, 3_000_000, -800_000, None),
        ["1970-01-01", "2024-01-02", "+10183-09-21", "-0221-09-04", None],
    ),
    "date64": (ints(pa.date64(), 86_400_000, -1, None), ["1970-01-02", "1969-12-31", None]),
    "time32 s": (ints(pa.time32("s"), 1, 90_000, -1, None), ["00:00:01", "25:00:00", "-00:00:01", None]),
    "time32 ms": (ints(pa.time32("ms"), 1), ["00:00:00.001000"]),
    "time64 us": (ints(pa.time64("us"), 1), ["00:00:00.000001"]),
    "time64 ns": (ints(pa.time64("ns"), 86_399_999_999_999), ["23:59:59.999999"]),
    "timestamp s": (
        ints(pa.timestamp("s"), 0, 253_402_300_800, 2**62, None),
        ["1970-01-01T00:00:00", "+10000-01-01T00:00:00", "+146138514283-06-19T07:45:04", None],
    ),
    "timestamp ms": (ints(pa.timestamp("ms"), -1), ["1969-12-31T23:59:59.999000"]),
    "timestamp us": (ints(pa.timestamp("us", "UTC"), 1), ["1970-01-01T00:00:00.000001+00:00"]),
    "timestamp ns": (
        ints(pa.timestamp("ns", "+05:30"), 1_999, -1),
        ["1970-01-01T05:30:00.000001+05:30", "1970-01-01T05:29:59.999999+05:30"],
    ),
    "timestamp zone": (ints(pa.timestamp("s", "Europe/Paris"), 0), ["1970-01-01T01:00:00+01:00"]),
    "timestamp unknown zone": (ints(pa.timestamp("s", "Mars/Olympus"), 0, None), ["1970-01-01T00:00:00+00:00", None]),
    "duration s": (ints(pa.duration("s"), 90_061, 2**60), ["1 day, 1:01:01", "13343998895912 days, 13:56:16"]),
    "duration ms": (ints(pa.duration("ms"), -1), ["-1 day, 23:59:59.999000"]),
    "duration us": (ints(pa.duration("us"), 1), ["0:00:00.000001"]),
    "duration ns": (ints(pa.duration("ns"), 1_500_000_999, None), ["0:00:01.500000", None]),
    "interval": (
        pa.array([(1, 2, 3_000_000_000), (-1, 0, -1_000), None], pa.month_day_nano_interval()),
        ["P1M2DT3S", "P-1M0DT-0.000001S", None],
    ),
    "uuid": (extension(pa.uuid(), pa.array([UUID.bytes, None], pa.binary(16))), [str(UUID), None]),
    "json": (
        extension(pa.json_(), pa.array(['{"a": [1]}', "7", '"s"', "none", None])),
        [{"a": [1]}, 7, "s", "none", None],
    ),
    "unheard": (extension(Unheard(), pa.array([1, None], pa.int32())), [1, None]),
    "unheard text": (extension(Unheard(pa.string()), pa.array(["a", None])), ["a", None]),
    "list": (pa.array([[1, None], None, []]), [[1, None], None, []]),
    "large_list": (pa.array([["a"], None], pa.large_list(pa.string())), [["a"], None]),
    "fixed_size_list": (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
    "list_view": (pa.array([[1, 2], None, []], pa.list_view(pa.int8())), [[1, 2], None, []]),
    "large_list_view": (pa.array([["a"], None], pa.large_list_view(pa.string_view())), [["a"], None]),
    "list_view out of order": (
        pa.ListViewArray.from_arrays(pa.array([2, 0], pa.int32()), pa.array([1, 3], pa.int32()), pa.array([7, 8, 9])),
        [[9], [7, 8, 9]],
    ),
    "struct": (pa.array([{"a": 1, "b": None}, None]), [{"a": 1, "b": None}, None]),
    "struct without fields": (pa.array([{}, None], pa.struct([])), [{}, None]),
    "struct with a name twice": (
        pa.StructArray.from_arrays([pa.array([1, 2]), pa.array(["x", None])], names=["a", "a"]),
        [{"a": "x"}, {"a": None}],
    ),
    "map": (pa.array([[("k", 1), ("k", 2), ("", None)], None, []], _MAP), [{"k": 2, "": None}, None, {}]),
    "map with odd keys": (
        pa.array([[(D("1.50"), b"\xff")]], pa.map_(pa.decimal128(5, 2), pa.binary())),
        [{"1.50": "ff"}],
    ),
    "map with times as keys": (
        pa.MapArray.from_arrays(pa.array([0, 2], pa.int32()), ints(pa.date32(), 0, 3_000_000), pa.array([1, 2])),
        [{"1970-01-01": 1, "+10183-09-21": 2}],
    ),
    "dictionary<string>": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "dictionary with a null": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None])),
        ["a", None, None],
    ),
    "dictionary with more values than rows": (
        pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(["a", "b", "c"], pa.large_string())),
        ["c", "a"],
    ),
    "dictionary<string_view>": (
        pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(["a", "b", "c"], pa.string_view())),
        ["c", "a"],
    ),
    "dictionary<decimal>": (
        pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array([D("1.50")], pa.decimal128(5, 2))),
        ["1.50", "1.50"],
    ),
    "dictionary<binary>": (pa.array([b"a", b"\xff"]).dictionary_encode(), ["a", "ff"]),
    "dictionary<uuid>": (
        pa.DictionaryArray.from_arrays(
            pa.array([0, None]), extension(pa.uuid(), pa.array([UUID.bytes], pa.binary(16)))
        ),
        [str(UUID), None],
    ),
    "dictionary<struct>": (
        pa.DictionaryArray.from_arrays(pa.array([0, None, 0]), pa.array([{"a": 1}])),
        [{"a": 1}, None, {"a": 1}],
    ),
    "run_end_encoded": (runs(pa.array(["a", None]), 2, 3), ["a", "a", None]),
    "run_end_encoded<timestamp>": (
        runs(ints(pa.timestamp("s"), 0), 2),
        ["1970-01-01T00:00:00", "1970-01-01T00:00:00"],
    ),
    "sparse_union": (
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
        [1, "b"],
    ),
    "dense_union": (
        pa.UnionArray.from_dense(
            pa.array([1, 0, 1], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1]), pa.array(["a", "b"])]
        ),
        ["a", 1, "b"],
    ),
    "nested": (
        struct(
            when=pa.array([[0, 2**60], None], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("s", "Mars/Olympus"))),
            by=pa.array([[("k", [D("1.5")])], []], pa.map_(pa.string(), pa.list_(pa.decimal128(5, 1)))),
            id=pa.StructArray.from_arrays(
                [extension(pa.uuid(), pa.array([UUID.bytes] * 2, pa.binary(16)))], names=["uuid"]
            ),
        ),
        [
            {
                "when": ["1970-01-01T00:00:00+00:00", "+36534630048-05-13T13:56:16+00:00"],
                "by": {"k": ["1.5"]},
                "id": {"uuid": str(UUID)},
            },
            {"when": None, "by": {}, "id": {"uuid": str(UUID)}},
        ],
    ),
}
"""Kind of column -> a column of it, and what each value is in JSON."""


def as_text(value: Any) -> str | None:
    """The plain twin of an id's text."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


@pytest.mark.parametrize(("array", "expected"), TABLE.values(), ids=TABLE)
def test_every_type_has_one_form(array: pa.Array, expected: list[Any]) -> None:
    values = json_values(array)
    assert [orjson.loads(json_text(value)) for value in values] == expected
    texts = text_column(array)
    texts.validate(full=True)
    assert texts.type == pa.string()
    assert texts.to_pylist() == [as_text(value) for value in expected]
    assert id_column(array).equals(texts)
    assert [id_text(value) for value in values] == texts.to_pylist()
    about = [orjson.loads(text) for text in metadata_column(array)]
    if is_text(array.type):
        spelled = [{} if value is None else value for value in expected]
        assert about == spelled or array.type == pa.json_()
    else:
        assert about == [{} if value is None else value for value in expected]


@pytest.mark.parametrize(("array", "expected"), TABLE.values(), ids=TABLE)
def test_slices_have_the_form_of_their_rows(array: pa.Array, expected: list[Any]) -> None:
    for start in range(len(array) + 1):
        for length in range(len(array) - start + 1):
            part = array.slice(start, length)
            wanted = expected[start : start + length]
            assert [orjson.loads(json_text(value)) for value in json_values(part)] == wanted
            assert text_column(part).to_pylist() == [as_text(value) for value in wanted]
            assert len(metadata_column(part)) == length


def test_the_table_holds_every_type_that_arrow_has() -> None:
    names = {name.removeprefix("Type_") for name in dir(pa.lib) if name.startswith("Type_")}
    assert len(names) > 40
    # An interval of other units cannot be made from Python.
    wanted = names - {"INTERVAL_MONTHS", "INTERVAL_DAY_TIME"}
    found = {array.type.id for array, _ in TABLE.values()}
    assert {name for name in wanted if getattr(pa.lib, f"Type_{name}") not in found} == set()


class Kind(NamedTuple):
    """A type, Python values of it, and the plain twin of their form in JSON."""

    type: pa.DataType
    values: st.SearchStrategy[Any]
    form: Callable[[Any], Any]


def bytes_form(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


LEAVES = [
    Kind(pa.bool_(), st.booleans(), bool),
    Kind(pa.int64(), st.integers(-(2**63), 2**63 - 1), int),
    Kind(pa.float64(), st.floats(), lambda value: value if math.isfinite(value) else None),
    Kind(pa.float32(), st.floats(width=32), lambda value: value if math.isfinite(value) else None),
    *(Kind(t, st.text(max_size=15), str) for t in (pa.string(), pa.large_string(), pa.string_view())),
    *(Kind(t, st.binary(max_size=15), bytes_form) for t in (pa.binary(), pa.large_binary(), pa.binary_view())),
    Kind(pa.decimal128(20, 9), st.decimals("-9e9", "9e9", places=9), lambda value: f"{value:f}"),
    Kind(pa.date32(), st.dates(), dt.date.isoformat),
    Kind(pa.time64("us"), st.times(), dt.time.isoformat),
    Kind(pa.timestamp("us"), st.datetimes(), dt.datetime.isoformat),
    Kind(pa.duration("us"), st.timedeltas(dt.timedelta(days=-99_999), dt.timedelta(days=99_999)), str),
    Kind(pa.null(), st.none(), lambda value: None),
]


def optional(kind: Kind) -> Kind:
    return Kind(kind.type, st.none() | kind.values, lambda value: None if value is None else kind.form(value))


def list_of(kind: Kind, type_: Callable[[pa.DataType], pa.DataType], size: int | None = None) -> Kind:
    values = st.lists(kind.values, min_size=size or 0, max_size=4 if size is None else size)
    return Kind(type_(kind.type), values, lambda value: [kind.form(item) for item in value])


def struct_of(kinds: list[Kind]) -> Kind:
    names = [f"f{i}" for i in range(len(kinds))]
    return Kind(
        pa.struct([pa.field(name, kind.type) for name, kind in zip(names, kinds, strict=True)]),
        st.fixed_dictionaries({name: kind.values for name, kind in zip(names, kinds, strict=True)}),
        lambda value: {name: kind.form(value[name]) for name, kind in zip(names, kinds, strict=True)},
    )


def map_of(kind: Kind) -> Kind:
    return Kind(
        pa.map_(pa.string(), kind.type),
        st.lists(st.tuples(st.text(max_size=2), kind.values), max_size=4),
        lambda value: {key: kind.form(item) for key, item in value},
    )


def nested(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return st.one_of(
        *(
            kinds.map(lambda kind, type_=type_: optional(list_of(kind, type_)))  # type: ignore[misc]
            for type_ in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)
        ),
        kinds.map(lambda kind: optional(list_of(kind, lambda type_: pa.list_(type_, 2), 2))),
        kinds.map(lambda kind: optional(map_of(kind))),
        st.lists(kinds, min_size=1, max_size=3).map(lambda them: optional(struct_of(them))),
    )


KINDS = st.recursive(st.sampled_from(LEAVES).map(optional), nested, max_leaves=5)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_nested_values_have_the_form_of_their_parts(data: st.DataObject) -> None:
    kind = data.draw(KINDS)
    values = data.draw(st.lists(kind.values, max_size=6))
    array = pa.array(values, kind.type)
    start = data.draw(st.integers(0, len(values)))
    for part, given_ in ((array, values), (array.slice(start), values[start:])):
        found = json_values(part)
        expected = [kind.form(value) for value in given_]
        assert [orjson.loads(json_text(value)) for value in found] == expected
        assert json.loads(json_text(found)) == expected
        assert text_column(part).to_pylist() == [as_text(value) for value in expected]
        assert id_column(part).to_pylist() == [id_text(value) for value in found]
        for text in metadata_column(part):
            orjson.loads(text)
    if values and kind.type != pa.null():
        again = pa.DictionaryArray.from_arrays(pa.array([len(values) - 1, None, 0]), array)
        expected = [kind.form(values[-1]), None, kind.form(values[0])]
        assert [orjson.loads(json_text(value)) for value in json_values(again)] == expected
        assert text_column(again).to_pylist() == [as_text(value) for value in expected]
        long = runs(array, *range(2, 2 * len(values) + 1, 2))
        expected = [kind.form(value) for value in values for _ in range(2)][1:]
        assert [orjson.loads(json_text(value)) for value in json_values(long.slice(1))] == expected


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]), st.sampled_from([None, "UTC", "X/Y"])
)
def test_any_whole_number_is_a_timestamp_and_a_duration(value: int, unit: str, zone: str | None) -> None:
    (text,) = json_values(ints(pa.timestamp(unit, zone), value))
    bare = text.removesuffix("+00:00")
    assert (bare == text) == (zone is None)
    micros = {"s": value * 10**6, "ms": value * 1000, "us": value, "ns": value // 1000}[unit]
    if abs(micros) < 2**63:
        expected = str(np.datetime64(micros, "us"))
        assert bare.lstrip("+-0") == expected.lstrip("-0").removesuffix(".000000")
    (text,) = json_values(ints(pa.duration(unit), value))
    if abs(micros) < 86_400 * 10**6 * 999_999_999:
        assert text == str(dt.timedelta(microseconds=micros))


def test_strings_that_are_not_utf8_are_an_error_and_no_id() -> None:
    raw = [b"a", b"\xff", None, b"b"]
    for array in (
        pa.array(raw).view(pa.string()),
        pa.array(raw, pa.large_binary()).view(pa.large_string()),
        pa.array(raw).view(pa.string()).dictionary_encode(),
    ):
        with pytest.raises(UnicodeDecodeError):
            text_column(array)
        with pytest.raises(UnicodeDecodeError):
            json_values(array)
        assert id_column(array).to_pylist() == ["a", None, None, "b"]
    inside = pa.StructArray.from_arrays([pa.array(raw).view(pa.string())], names=["a"])
    with pytest.raises(UnicodeDecodeError):
        json_values(inside)
    assert id_column(inside).to_pylist() == ['{"a":"a"}', None, '{"a":null}', '{"a":"b"}']
    with pytest.raises(UnicodeDecodeError):
        text_column(pa.array(raw), bytes_are_text=True)
    assert text_column(pa.array(raw)).to_pylist() == ["a", "ff", None, "b"]


def test_metadata_of_text_columns_is_the_object_that_a_text_spells() -> None:
    texts = ['{"a": 1}', "plain", "", None, "[1]"]
    expected = [{"a": 1}, "plain", "", {}, "[1]"]
    for array in (
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        pa.array(texts, pa.string_view()),
        pa.array(texts).cast(pa.binary()),
        pa.array(texts).dictionary_encode(),
        extension(pa.json_(), pa.array(texts)),
        extension(Unheard(pa.string()), pa.array(texts)),
        runs(pa.array(texts), 1, 2, 3, 4, 5),
    ):
        assert [orjson.loads(text) for text in metadata_column(array)] == expected
    with pytest.raises(TooDeepError):
        metadata_column(pa.array(['{"a":' * 300 + "1" + "}" * 300]))


def test_columns_that_are_text_are_passed_on_as_they_are() -> None:
    array = pa.array(["a", None, "b"])
    assert text_column(array) is array
    assert text_column(pa.array([1, None], pa.uint8())).to_pylist() == ["1", None]
    assert not is_text(extension(pa.uuid(), pa.array([UUID.bytes], pa.binary(16))).type)
    assert is_text(pa.dictionary(pa.int8(), pa.large_binary()))
    assert not is_text(pa.list_(pa.string()))
