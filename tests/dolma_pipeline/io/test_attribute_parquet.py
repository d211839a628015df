"""Parquet attribute files of other people's, and rows of ranges of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_parquet import PART_ROWS, parquet_parts, parquet_rows, parquet_schema
from dolma_pipeline.io.attribute_part import BadRowError


def write(path: Path, columns: dict[str, Any], *, rows: int = 1000) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def read(path: Path, rows: range | None = None, schema: pa.Schema | None = None) -> list[dict[str, Any]]:
    parts = list(parquet_parts(path, schema or parquet_schema(path), rows))
    return [row for part in parts for row in part.table.to_pylist()]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_rows_of_a_range_are_those_rows(
    tmp_path_factory: pytest.TempPathFactory, group: int, total: int, one: int, other: int
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    ids = [f"i{n}" for n in range(total)]
    write(path, {"id": pa.array(ids, pa.string()), "x": pa.array([{"n": n} for n in range(total)], N)}, rows=group)
    first, stop = sorted((min(one, total), min(other, total)))
    parts = list(parquet_parts(path, parquet_schema(path), range(first, stop)))
    assert [row["x"]["n"] for part in parts for row in part.table.to_pylist()] == [*range(first, stop)]
    assert [id_ for part in parts if part.ids is not None for id_ in part.ids.to_pylist()] == ids[first:stop]
    at = first
    for part in parts:
        assert part.row == at
        at += part.table.num_rows
    assert parquet_rows(path) == total


N = pa.struct([("n", pa.int64())])


def test_a_range_in_one_large_row_group(tmp_path: Path) -> None:
    total = 3 * PART_ROWS
    numbers = pa.StructArray.from_arrays([pa.array(range(total))], names=["n"])
    path = write(tmp_path / "a.parquet", {"x": numbers}, rows=total)
    first, stop = PART_ROWS - 5, 2 * PART_ROWS + 7
    assert [row["x"]["n"] for row in read(path, range(first, stop))] == [*range(first, stop)]
    assert read(path, range(9, 9)) == []


def test_fields_of_any_type_from_anyone(tmp_path: Path) -> None:
    span = pa.struct([("end", pa.float64()), ("label", pa.string()), ("start", pa.uint16())])
    structs = {
        "small": pa.array([1, None], pa.uint8()),
        "half": pa.array([0.5, math.nan], pa.float32()),
        "kind": pa.array(["de", None], pa.large_string()).dictionary_encode(),
        "good": pa.array([True, None]),
        "spans": pa.array([[{"start": 0, "end": 2.0, "label": "x"}], None], pa.large_list(span)),
    }
    column = pa.StructArray.from_arrays([*structs.values()], names=[*structs])
    path = write(tmp_path / "a.parquet", {"exp": column, "exp__flat": [0.25, None], "text": ["a", "b"]})
    schema = parquet_schema(path)
    assert schema.names == ["exp"]
    assert {field.name: str(field.type) for field in schema.field("exp").type} == {
        "small": "int64",
        "half": "float",
        "kind": "string",
        "good": "bool",
        "spans": "list<item: struct<start: int32, end: int32, score: float, label: string>>",
        "flat": "double",
    }
    assert read(path) == [
        {
            "exp": {
                "small": 1,
                "half": 0.5,
                "kind": "de",
                "good": True,
                "spans": [{"start": 0, "end": 2, "score": 1.0, "label": "x"}],
                "flat": 0.25,
            }
        },
        {"exp": dict.fromkeys(["small", "half", "kind", "good", "spans", "flat"])},
    ]


def test_null_structs_and_required_fields(tmp_path: Path) -> None:
    required = pa.struct([pa.field("n", pa.int32(), nullable=False)])
    path = write(tmp_path / "a.parquet", {"x": pa.array([{"n": 1}, None, {"n": 3}], required)})
    assert [row["x"] for row in read(path)] == [{"n": 1}, None, {"n": 3}]


def test_dolmas_lines_that_a_tool_made_parquet_of(tmp_path: Path) -> None:
    lines = [
        {"exp__lang__en": [[0.0, 5.0, 0.9]], "bff": [[0.0, 5.0]]},
        {"exp__lang__en": None, "bff": []},
    ]
    path = write(tmp_path / "a.parquet", {"id": ["a", "b"], "attributes": lines, "source": ["s", "s"]})
    schema = parquet_schema(path)
    assert schema == pa.schema(
        [("exp", pa.struct([("lang__en", SPANS_TYPE)])), ("bff", pa.struct([("bff", SPANS_TYPE)]))]
    )
    rows = read(path)
    assert rows[0]["exp"]["lang__en"] == [{"start": 0, "end": 5, "score": pytest.approx(0.9)}]
    assert rows[0]["bff"]["bff"] == [{"start": 0, "end": 5, "score": 1.0}]
    assert rows[1] == {"exp": {"lang__en": []}, "bff": {"bff": []}}


def test_rows_before_a_wrong_one_are_given_out(tmp_path: Path) -> None:
    spans = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
    wide = pa.array([[{"start": 0, "end": 1}]] * 70 + [[{"start": 5, "end": 1}]] + [None] * 9, spans)
    numbers = pa.array([*range(75), 2**64 - 1, 0, 0, 0, 0], pa.uint64())
    column = pa.StructArray.from_arrays([numbers, wide], names=["n", "s"])
    path = write(tmp_path / "a.parquet", {"id": [f"i{n}" for n in range(80)], "x": column}, rows=30)
    given_out = 0
    with pytest.raises(BadRowError) as error:
        for part in parquet_parts(path, parquet_schema(path), range(10, 80)):
            given_out += part.table.num_rows
    assert given_out == 60
    assert error.value.part.place(path, error.value.index) == f"{path}: row 70 (id 'i70')"
    assert error.value.what == "x.s: span [5, 1]: 0 <= start <= end must hold"
    only = pa.schema([("x", pa.struct([("n", pa.int64())]))])  # what nobody asks for stops nobody
    with pytest.raises(BadRowError) as error:
        read(path, None, only)
    assert error.value.part.row + error.value.index == 75
    assert len(read(path, range(75), only)) == 75


def test_a_field_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"x": [{"n": "many"}], "attributes": [{"e__s": [[0.0, 1.0]]}]})
    for column, type_, found in (("x", N, "x.n is string"), ("e", pa.struct([("s", pa.int64())]), "e.s is list")):
        with pytest.raises(DataError, match=rf"^{path}: attribute {found}.* here, but int64 in another file of it\. "):
            read(path, None, pa.schema([(column, type_)]))
