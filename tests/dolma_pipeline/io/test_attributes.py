"""Attribute files: what is written is read in step with the documents, in our form and in Dolma's."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE, Batch, Document
from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.io.attributes import (
    ROW_GROUP_ROWS,
    AttributeReader,
    AttributeWriter,
    DolmaWriter,
    attribute_file,
    attribute_schema,
    dolma_schema,
    find_attributes,
    read_attribute,
)

TINY = pa.struct([pa.field("n", pa.int64())])
FULL = pa.struct(
    [
        pa.field("count", pa.int64()),
        pa.field("share", pa.float64()),
        pa.field("good", pa.bool_()),
        pa.field("kind", pa.string()),
        pa.field("spans", SPANS_TYPE),
    ]
)


def numbers(start: int, end: int) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array(range(start, end), pa.int64())], fields=list(TINY))


def batch(num_rows: int, *, first: int = 0, ids: Sequence[str | None] = ()) -> Batch:
    documents = [Document("t", id=str(first + i)) for i in range(num_rows)]
    made = Batch.of(documents)
    table = made.table.set_column(0, "id", pa.array(ids, pa.string())) if ids else made.table
    return Batch(table, shard="web/a", first_row=first)


def write(path: Path, *columns: pa.StructArray, type_: pa.StructType = TINY) -> Path:
    with attribute_file(path, "x_v1", type_) as writer:
        for column in columns:
            writer.write_column(column)
    return path


def read(path: Path, sizes: Sequence[int], schema: pa.Schema | None = None) -> list[Any]:
    """The first column's rows, taken in batches of these sizes."""
    reader = AttributeReader(path, schema or attribute_schema(path))
    found, first = [], 0
    for size in sizes:
        taken = reader.take(batch(size, first=first))
        assert taken.num_rows == size
        found += taken.column(0).to_pylist()
        first += size
    reader.finish(first)
    return found


@pytest.mark.parametrize("num_rows", [0, 1, ROW_GROUP_ROWS - 1, ROW_GROUP_ROWS, ROW_GROUP_ROWS + 1, 150_000])
def test_rows_come_back_across_the_borders_of_row_groups(tmp_path: Path, num_rows: int) -> None:
    path = write(tmp_path / "a.parquet", *(numbers(i, min(i + 7_000, num_rows)) for i in range(0, num_rows, 7_000)))
    sizes = [min(9_999, num_rows - i) for i in range(0, num_rows, 9_999)]
    assert read(path, sizes) == [{"n": i} for i in range(num_rows)]
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [min(ROW_GROUP_ROWS, num_rows - i) for i in range(0, num_rows, ROW_GROUP_ROWS)]


def test_the_bytes_do_not_depend_on_how_the_rows_came(tmp_path: Path) -> None:
    whole = numbers(0, 140_000)
    one = write(tmp_path / "one.parquet", whole)
    two = write(tmp_path / "two.parquet", *(whole.slice(i, 999) for i in range(0, 140_000, 999)))
    assert one.read_bytes() == two.read_bytes()


VALUES = st.fixed_dictionaries(
    {
        "count": st.integers(-(2**63), 2**63 - 1),
        "share": st.floats(allow_nan=False),
        "good": st.booleans(),
        "kind": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "spans": st.lists(
            st.fixed_dictionaries(
                {
                    "start": st.integers(0, 9),
                    "end": st.integers(9, 2**31 - 1),
                    "score": st.floats(width=32, allow_nan=False),
                }
            ),
            max_size=3,
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), VALUES), max_size=20), st.integers(0, 5), st.lists(st.integers(1, 6), max_size=9))
def test_every_type_and_null_rows_come_back_from_slices(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], skipped: int, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("attributes") / "a.parquet"
    column = pa.array([*[None] * skipped, *rows], FULL).slice(skipped)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(column.slice(at, size))
        at += size
    write(path, *pieces, column.slice(at), type_=FULL)
    cuts = [min(size, max(0, len(rows) - sum(sizes[:i]))) for i, size in enumerate(sizes)]
    rest = len(rows) - sum(cuts)
    assert read(path, [size for size in [*cuts, rest] if size]) == rows


def test_a_writer_that_fails_leaves_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "a.parquet", tmp_path / "a.jsonl.gz"):
        with pytest.raises(ValueError, match="stop"), attribute_file(path, "x_v1", TINY) as writer:
            writer.write(numbers(0, 2), batch(2))
            raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_the_ending_decides_the_form(tmp_path: Path) -> None:
    with attribute_file(tmp_path / "a.parquet", "x_v1", TINY) as ours:
        assert type(ours) is AttributeWriter
    with attribute_file(tmp_path / "a.jsonl.gz", "x_v1", TINY) as dolmas:
        assert type(dolmas) is DolmaWriter


ROWS: list[dict[str, Any] | None] = [
    {
        "count": 3,
        "share": 0.25,
        "good": True,
        "kind": "zh-Hant",
        "spans": [{"start": 0, "end": 2, "score": 0.1}, {"start": 3, "end": 4, "score": 1.0}],
    },
    {"count": 0, "share": 1e-7, "good": False, "kind": "", "spans": []},
    None,
]

DOLMA_LINES = b"""\
{"id":"a","attributes":{"x_v1__x_v1__count":[[0,5,3.0]],"x_v1__x_v1__share":[[0,5,0.25]],"x_v1__x_v1__good":\
[[0,5,1.0]],"x_v1__x_v1__kind__zh_Hant":[[0,5,1.0]],"x_v1__x_v1__spans":[[0,2,0.1],[3,4,1.0]]},"source":"web"}
{"id":"b","attributes":{"x_v1__x_v1__count":[[0,2,0.0]],"x_v1__x_v1__share":[[0,2,1e-7]],"x_v1__x_v1__kind__":\
[[0,2,1.0]]},"source":"web"}
{"id":null,"attributes":{},"source":""}
"""


def dolma_file(path: Path) -> Path:
    made = Batch.of([Document("ab cé", id="a", source="web"), Document("😀!", id="b", source="web"), Document("")])
    ids = pa.array(["a", "b", None], pa.string())
    with attribute_file(path, "x_v1", FULL) as writer:
        writer.write(pa.array(ROWS, FULL), Batch(made.table.set_column(0, "id", ids)))
    return path


def test_dolmas_form_is_dolmas_to_the_byte(tmp_path: Path) -> None:
    path = dolma_file(tmp_path / "a.jsonl.gz")
    raw = path.read_bytes()
    assert gzip.decompress(raw) == DOLMA_LINES
    assert raw[3:8] == b"\0\0\0\0\0"  # no name, no time
    assert dolma_file(tmp_path / "b.jsonl.gz").read_bytes() == raw


def test_dolmas_form_is_read_as_span_lists_and_absent_means_empty(tmp_path: Path) -> None:
    path = dolma_file(tmp_path / "a.jsonl.gz")
    schema = attribute_schema(path)
    fields = ["count", "good", "kind__", "kind__zh_Hant", "share", "spans"]
    assert schema == pa.schema([("x_v1", pa.struct([(f"x_v1__{name}", SPANS_TYPE) for name in fields]))])
    reader = AttributeReader(path, schema)
    made = Batch.of([Document("t", id=id_) for id_ in ("a", "b", "c")])
    rows = reader.take(made).column("x_v1").to_pylist()
    reader.finish(3)
    shown = [{name: [tuple(s.values()) for s in row[f"x_v1__{name}"]] for name in fields} for row in rows]
    score = 0.10000000149011612  # 0.1 as float32
    assert shown[0] == {
        "count": [(0, 5, 3.0)],
        "good": [(0, 5, 1.0)],
        "kind__": [],
        "kind__zh_Hant": [(0, 5, 1.0)],
        "share": [(0, 5, 0.25)],
        "spans": [(0, 2, score), (3, 4, 1.0)],
    }
    assert (shown[1]["good"], shown[1]["count"], shown[1]["kind__"]) == ([], [(0, 2, 0.0)], [(0, 2, 1.0)])
    assert shown[2] == {key: [] for key in fields}


def lines_file(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return path


def test_names_of_dolmas_taggers_and_of_its_deduper(tmp_path: Path) -> None:
    path = lines_file(
        tmp_path / "a.jsonl",
        {
            "id": "0",
            "attributes": {"exp__tgr____label__en": [[0, 1, 1]], "exp__b__c": [], "bff_duplicate": [[0, 1, 1]]},
        },
        {"id": "1", "attributes": {}},
        {"id": "2", "attributes": {"exp__b__c": [[0, 2, 0.5], [1, 2, 1]], "other__x__y": [[0, 1, 0]]}},
    )
    schema = attribute_schema(path)
    assert schema == dolma_schema(
        {"exp": {"tgr____label__en", "b__c"}, "bff_duplicate": {"bff_duplicate"}} | {"other": {"x__y"}}
    )
    assert schema.names == ["bff_duplicate", "exp", "other"]
    some = AttributeReader(path, pa.schema([schema.field("exp")])).take(batch(3))
    assert some.column_names == ["exp"]
    assert [len(row["b__c"]) for row in some.column("exp").to_pylist()] == [0, 0, 2]


def test_thousands_of_lines_in_step(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines_file(path, *({"id": str(i), "attributes": {"e__t__n": [[0, 1, i]]}} for i in range(20_000)))
    rows = read(path, [1, 8_191, 1, 8_192, 3_615], attribute_schema(path))
    assert [row["t__n"][0]["score"] for row in rows] == list(range(20_000))


def test_the_file_of_a_shard_is_found_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "x_v1"
    assert find_attributes(folder, "web/a") is None
    for ending in (".json", ".json.gz", ".jsonl", ".jsonl.zst", ".jsonl.gz", ".parquet"):
        path = folder / "web" / f"a{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        assert find_attributes(folder, "web/a") == path
    assert find_attributes(folder, "web/b") is None
    (folder / "web" / "b.parquet").mkdir()
    assert find_attributes(folder, "web/b") is None


def test_too_few_rows_name_the_file_and_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 5))
    reader = AttributeReader(path, attribute_schema(path))
    reader.take(batch(3))
    with pytest.raises(MisalignedError) as error:
        reader.take(batch(3, first=3))
    assert str(error.value) == (f"{path}: 5 rows, but shard web/a has at least 6 documents. Tag that shard again.")


def test_rows_that_are_left_over_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 70_000))
    reader = AttributeReader(path, attribute_schema(path))
    reader.take(batch(4))
    with pytest.raises(MisalignedError) as error:
        reader.finish(4)
    assert str(error.value) == f"{path}: 70000 rows, but its shard has 4 documents. Tag that shard again."


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_id_of_another_document_is_an_error(tmp_path: Path, form: str) -> None:
    ids: list[Any] = ["0", None, "2", "other", "4"]
    if form == "jsonl":
        path = lines_file(tmp_path / "a.jsonl", *({"id": i, "attributes": {"e__t__n": []}} for i in ids))
    else:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"id": ids, "e": pa.array([{"n": 1}] * 5, TINY)}), path)
    reader = AttributeReader(path, attribute_schema(path))
    assert attribute_schema(path).names == ["e"]
    reader.take(batch(2))
    reader.take(batch(1, ids=["2"], first=2))
    with pytest.raises(MisalignedError) as error:
        reader.take(batch(2, first=3))
    assert str(error.value) == (
        f"{path}: row 3 is of id 'other', but document web/a#3 has id '3': attributes of other documents."
    )


def test_ids_that_one_side_does_not_have_or_has_as_numbers_are_no_difference(tmp_path: Path) -> None:
    path = lines_file(tmp_path / "a.jsonl", *({"id": i, "attributes": {"e__t__n": []}} for i in (7, None, "x")))
    reader = AttributeReader(path, attribute_schema(path))
    assert reader.take(batch(3, ids=["7", "b", None])).num_rows == 3
    reader.finish(3)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    packed = dolma_file(tmp_path / "a.jsonl.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"^{packed}: truncated: the file ends inside a gzip member$"):
        attribute_schema(packed)
    columns = write(tmp_path / "a.parquet", numbers(0, 9))
    schema = attribute_schema(columns)
    columns.write_bytes(columns.read_bytes()[:-6])
    with pytest.raises(DataError, match=rf"^{columns}: damaged Parquet: "):
        attribute_schema(columns)
    with pytest.raises(DataError, match=rf"^{columns}: damaged Parquet: "):
        AttributeReader(columns, schema).take(batch(1))
    with pytest.raises(FileNotFoundError):
        attribute_schema(tmp_path / "none.parquet")


def test_a_file_with_other_fields_than_its_sisters_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 2))
    wanted = pa.schema([("x_v1", pa.struct([("n", pa.string())]))])
    with pytest.raises(DataError) as error:
        AttributeReader(path, wanted).take(batch(2))
    assert str(error.value) == (
        f"{path}: attribute x_v1.n is int64 here, but string in another file of it. "
        "All files of an attribute have the same fields."
    )
    with pytest.raises(DataError) as error:
        AttributeReader(path, pa.schema([("x_v1", pa.struct([("m", pa.int64())]))])).take(batch(2))
    assert str(error.value) == (
        f"{path}: no field of attribute x_v1 named 'm'. There are: n. All files of an attribute have the same fields."
    )
    with pytest.raises(DataError, match=r"no attribute named 'x_v2'\. Did you mean 'x_v1'\?"):
        AttributeReader(path, pa.schema([("x_v2", TINY)])).take(batch(2))


def test_only_the_fields_asked_for_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.array(ROWS, FULL), type_=FULL)
    wanted = pa.schema([("x_v1", pa.struct([("spans", SPANS_TYPE), ("count", pa.int64())]))])
    assert read(path, [1, 2], wanted) == [
        None if row is None else {"spans": row["spans"], "count": row["count"]}
        for row in pa.array(ROWS, FULL).to_pylist()
    ]
    assert read_attribute(path, wanted.field("x_v1")).to_pylist() == read(path, [3], wanted)
    assert read_attribute(write(tmp_path / "none.parquet"), pa.field("x_v1", TINY)).to_pylist() == []
    lines = dolma_file(tmp_path / "a.jsonl.gz")
    (good,) = (f for f in attribute_schema(lines).field("x_v1").type if f.name == "x_v1__good")
    rows = read_attribute(lines, pa.field("x_v1", pa.struct([good]))).to_pylist()
    assert [len(row["x_v1__good"]) for row in rows] == [1, 0, 0]


def span_file(path: Path, spans: Sequence[Sequence[tuple[int, int]]], ids: Sequence[str] | None) -> Path:
    """Spans as `x.s`, with or without ids."""
    lists = [[{"start": start, "end": end, "score": 1.0} for start, end in row] for row in spans]
    columns = {"x": pa.array([{"s": row} for row in lists], pa.struct([("s", SPANS_TYPE)]))}
    if path.suffix == ".parquet":
        pq.write_table(pa.table({**({"id": ids} if ids else {}), **columns}), path)
        return path
    rows = [{"id": ids[i] if ids else None, "attributes": {"x__s": row}} for i, row in enumerate(spans)]
    return lines_file(path, *rows)


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("form", ["a.parquet", "a.jsonl"])
def test_wrong_spans_are_named_by_file_row_id_and_field(tmp_path: Path, form: str, with_ids: bool) -> None:
    """The row is that of the file, not of the batch, in a range of it too; the id is the document's if need be."""
    spans = [[(0, 1)]] * 2500
    ids = [f"d{n}" for n in range(2500)]
    for wrong, what, error_type in (
        ((5, 2), "span [5, 2]: 0 <= start <= end must hold", DataError),
        ((1, 7), "span [1, 7] ends behind the text, which has 4 characters. The spans were made from another text.",
         MisalignedError),
    ):  # fmt: skip
        path = span_file(tmp_path / form, [*spans[:1203], [(0, 4), wrong], *spans[1204:]], ids if with_ids else None)
        place = f"{path}: row 1203" if form == "a.parquet" else f"{path}:1204: row 1203"
        for rows in (None, range(100, 2500)):
            reader = AttributeReader(path, attribute_schema(path), rows=rows, fits_text=["x.s"])
            first = 0 if rows is None else 100
            with pytest.raises(error_type) as error:
                for start in range(first, 2500, 700):
                    reader.take(texts(["é漢🙂x"] * 700, first=start, shard_row=start - first))
            assert str(error.value) == f"{place} (id 'd1203'): x.s: {what}"


def texts(strings: Sequence[str], *, first: int, shard_row: int) -> Batch:
    made = Batch.of([Document(text, id=f"d{first + i}") for i, text in enumerate(strings)])
    return Batch(made.table, shard="web/a@00001", first_row=shard_row)


def test_spans_by_which_nothing_is_edited_may_end_anywhere(tmp_path: Path) -> None:
    """Dolma's own deduper counts bytes, and scores stand on spans over texts that were longer once."""
    path = span_file(tmp_path / "a.jsonl", [[(0, 99)]], None)
    reader = AttributeReader(path, attribute_schema(path), fits_text=["x.other", "y.s"])
    assert reader.take(batch(1)).column("x").to_pylist() == [{"s": [{"start": 0, "end": 99, "score": 1.0}]}]


def test_how_rows_were_aligned_can_be_told(tmp_path: Path) -> None:
    lines = [{"id": id_, "attributes": {"e__n": []}} for id_ in ("0", "1", None)]
    path = lines_file(tmp_path / "a.jsonl", *lines)
    reader = AttributeReader(path, attribute_schema(path))
    assert reader.aligned_by == "counts"
    reader.take(batch(2))
    assert reader.aligned_by == "ids"
    reader.take(batch(1, first=2))
    assert reader.aligned_by == "counts"
    without = write(tmp_path / "b.parquet", numbers(0, 3))
    reader = AttributeReader(without, attribute_schema(without))
    reader.take(batch(3))
    assert reader.aligned_by == "counts"


def test_ids_may_be_kept_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 5))
    ids = pa.chunked_array([["0", "1"], [None, "3", "other"]], pa.string())
    reader = AttributeReader(path, attribute_schema(path), ids=ids)
    assert reader.take(batch(2)).num_rows == 2
    assert reader.aligned_by == "ids"
    assert reader.take_rows(2, ids=pa.array(["2", "3"])).column(0).to_pylist() == [{"n": 2}, {"n": 3}]
    with pytest.raises(MisalignedError, match=r"row 4 is of id 'other', but document web/a#4 has id '4'"):
        reader.take(batch(1, first=4))
    reader = AttributeReader(path, attribute_schema(path), ids=pa.array(["0", "1", "2"]))
    with pytest.raises(MisalignedError, match=rf"^{path}: 3 ids for at least 5 rows\. Tag that shard again\.$"):
        reader.take(batch(5))


def test_numbers_of_other_files_become_those_of_the_first(tmp_path: Path) -> None:
    """pandas makes doubles of a column of integers that has a null."""
    wanted = pa.schema([("x", pa.struct([("n", pa.int64())]))])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [{"n": 1.0}, {"n": float("nan")}, {"n": None}]}), path)
    assert read(path, [3], wanted) == [{"n": 1}, {"n": None}, {"n": None}]
    pq.write_table(pa.table({"x": [{"n": 1.0}, {"n": 1.5}]}), path)
    with pytest.raises(DataError) as error:
        read(path, [2], wanted)
    assert str(error.value) == f"{path}: row 1 (id '1'): x.n: 1.5 (double) does not fit a whole number of 64 bits"
    with pytest.raises(DataError, match=rf"^{path}: row 1: x\.n: 1\.5"):
        read_attribute(path, wanted.field("x"))


def test_plain_columns_are_attributes_named_as_dolmas(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["0"], "x_v1": pa.array([{"n": 1}], TINY), "score": [0.5]}), path)
    assert attribute_schema(path) == pa.schema([("x_v1", TINY), ("score", pa.struct([("score", pa.float64())]))])
    assert read(path, [1]) == [{"n": 1}]
    assert read(path, [1], pa.schema([attribute_schema(path).field("score")])) == [{"score": 0.5}]


def test_spans_are_written_as_differences_and_any_reader_reads_them(tmp_path: Path) -> None:
    import duckdb

    path = write(tmp_path / "a.parquet", pa.array(ROWS, FULL), type_=FULL)
    group = pq.read_metadata(path).row_group(0)
    encodings = {group.column(i).path_in_schema: set(group.column(i).encodings) for i in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in encodings["x_v1.spans.list.element.start"]
    assert "DELTA_BINARY_PACKED" in encodings["x_v1.spans.list.element.end"]
    assert "RLE_DICTIONARY" in encodings["x_v1.spans.list.element.score"]
    assert not {"RLE_DICTIONARY", "DELTA_BINARY_PACKED"} & encodings["x_v1.count"]
    assert pq.read_table(path).column("x_v1").to_pylist() == pa.array(ROWS, FULL).to_pylist()
    found = duckdb.sql(f"SELECT x_v1 FROM read_parquet('{path}')").to_arrow_table()
    assert found.column("x_v1").to_pylist() == pa.array(ROWS, FULL).to_pylist()
