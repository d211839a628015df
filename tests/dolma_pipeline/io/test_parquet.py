"""Documents in Parquet: the rows of JSON lines, whatever Arrow types hold them; odd values cost nothing else."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import MAX_BATCH_BYTES, SCHEMA, Batch
from dolma_pipeline.io import parquet
from dolma_pipeline.io.jsonl import Failure, read_lines
from dolma_pipeline.io.parquet_damage import open_or_lose

COLUMNS = ("text", "id", "source", "added", "created", "metadata")


class Read:
    """All rows of a Parquet file (or of the same rows in JSON lines)."""

    def __init__(self, batches: list[Batch], failures: list[Failure]) -> None:
        self.batches, self.failures = batches, failures
        self.rows = [row for batch in batches for row in batch.table.to_pylist()]
        self.locs = [loc for batch in batches for loc in batch.locs.tolist()]
        self.reasons = [(failure.line, failure.reason) for failure in failures]
        for batch in batches:
            batch.table.validate(full=True)
            assert batch.table.schema == SCHEMA
        for row in self.rows:
            row["metadata"], row["extra"] = orjson.loads(row["metadata"]), orjson.loads(row["extra"])

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def read(table: pa.Table | bytes, *, fields: dict[str, str] | None = None, **options: Any) -> Read:
    raw = table if isinstance(table, bytes) else written(table, **options)
    failures: list[Failure] = []
    file = parquet.open_parquet(io.BytesIO(raw))
    batches = parquet.read_parquet(
        file,
        path="f.parquet",
        shard="s/f",
        source="s",
        report=failures.append,
        fields=fields or {},
        row_groups=range(file.num_row_groups),
    )
    return Read(list(batches), failures)


def read_as_lines(rows: list[dict[str, Any]]) -> Read:
    failures: list[Failure] = []
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return Read(list(read_lines(iter([raw]), path="f.parquet", shard="s/f", report=failures.append)), failures)


STRINGS: dict[str, Callable[[list[str | None]], pa.Array]] = {
    "string": lambda values: pa.array(values, pa.string()),
    "large_string": lambda values: pa.array(values, pa.large_string()),
    "string_view": lambda values: pa.array(values, pa.string_view()),
    "binary": lambda values: pa.array(values, pa.string()).cast(pa.binary()),
    "large_binary": lambda values: pa.array(values, pa.string()).cast(pa.large_binary()),
    "binary_view": lambda values: pa.array([v if v is None else v.encode() for v in values], pa.binary_view()),
    "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "dictionary of large": lambda values: pa.array(values, pa.large_string()).dictionary_encode(),
}


@pytest.mark.parametrize("make", STRINGS.values(), ids=STRINGS)
def test_every_column_may_be_of_any_type_of_string(make: Callable[[list[str | None]], pa.Array]) -> None:
    values = ["é", None, "", "a" * 30, "é"]
    found = read(pa.table({name: make(values) for name in (*COLUMNS, "other")}))
    assert found.reasons == [(2, "'text' is null; expected a string")]
    for name in COLUMNS[:5]:
        assert found.column(name) == ["é", "", "a" * 30, "é"]
    assert found.column("metadata") == ["é", "", "a" * 30, "é"]
    assert found.column("extra") == [{"other": value} for value in ("é", "", "a" * 30, "é")]
    assert found.locs == [1, 3, 4, 5]


TEXTS = st.text(max_size=6)
ABOUT = st.one_of(
    st.none(),
    TEXTS,
    st.sampled_from(['{"a": 1}', ' {"b": {"c": []}} ', "{}", "{x}", "[1]", "null", "7", '"s"', '{"a": NaN}']),
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(-9, 9)), max_size=2).map(json.dumps),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {name: ABOUT if name == "metadata" else st.none() | TEXTS for name in (*COLUMNS, "x", "y z")}
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.lists(st.sampled_from([*STRINGS]), min_size=8, max_size=8), st.integers(1, 5))
def test_rows_mean_what_they_mean_in_json_lines(rows: list[dict[str, Any]], kinds: list[str], group_rows: int) -> None:
    names = [*COLUMNS, "x", "y z"]
    table = pa.table({n: STRINGS[k]([row[n] for row in rows]) for n, k in zip(names, kinds, strict=True)})
    found, expected = read(table, row_group_size=group_rows), read_as_lines(rows)
    assert found.rows == expected.rows
    assert found.locs == expected.locs
    assert [failure.line for failure in found.failures] == [failure.line for failure in expected.failures]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": TEXTS,
                "id": st.integers(-(2**63), 2**63 - 1),
                "source": st.none() | st.booleans(),
                "added": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "metadata": st.none() | st.fixed_dictionaries({"url": st.none() | TEXTS, "tags": st.lists(TEXTS)}),
                "n": st.none() | st.lists(st.fixed_dictionaries({"k": st.none() | st.integers(-9, 9)})),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_numbers_structs_and_lists_mean_what_they_mean_in_json_lines(rows: list[dict[str, Any]]) -> None:
    schema = pa.schema(
        {
            "text": pa.string(),
            "id": pa.int64(),
            "source": pa.bool_(),
            "added": pa.float64(),
            "metadata": pa.struct({"url": pa.string(), "tags": pa.list_(pa.string())}),
            "n": pa.list_(pa.struct({"k": pa.int8()})),
        }
    )
    assert read(pa.Table.from_pylist(rows, schema=schema)).rows == read_as_lines(rows).rows


UNKNOWN_ZONE = pa.array([0, 0, 0], pa.timestamp("ms", "Mars/Olympus"))
ODD = {
    "day": pa.array([0, 3_000_000, None], pa.int32()).view(pa.date32()),
    "when": pa.array([0, 2**60, -(2**60)]).view(pa.timestamp("us")),
    "zone": UNKNOWN_ZONE,
    "long": pa.array([0, 2**62, None]).view(pa.duration("s")),
    "map": pa.MapArray.from_arrays(
        pa.array([0, 1, 1, 2], pa.int32()), pa.array(["k", "l"]), pa.array([1, 2**60]).view(pa.timestamp("ms"))
    ),
    "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("0")]).cast(pa.decimal256(50, 20)),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=i).bytes for i in range(3)], pa.binary(16))
    ),
    "half": pa.array([1.5, float("nan"), None], pa.float16()),
    "nothing": pa.nulls(3),
}


@pytest.mark.parametrize("column", ODD.values(), ids=ODD)
def test_no_value_of_a_column_that_nobody_needs_stops_a_file(column: pa.Array) -> None:
    found = read(pa.table({"text": ["a", "b", "c"], "odd": column}))
    assert found.reasons == []
    assert found.column("text") == ["a", "b", "c"]
    assert [[*row] for row in found.column("extra")] == [["odd"]] * 3


@pytest.mark.parametrize("column", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", COLUMNS[1:])
def test_nor_of_one_that_is_needed(name: str, column: pa.Array) -> None:
    found = read(pa.table({"text": ["a", "b", "c"], name: column}))
    assert found.reasons == []
    assert len(found.column(name)) == 3


def test_ids_are_written_without_quotes() -> None:
    columns = {
        "decimal": (pa.array([decimal.Decimal("7"), decimal.Decimal("10")], pa.decimal128(38, 0)), ["7", "10"]),
        "price": (pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)), ["1.50", None]),
        "uuid": (ODD["uuid"].slice(1), [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]),
        "date": (pa.array([dt.date(2024, 1, 2), None]), ["2024-01-02", None]),
        "bytes": (pa.array([b"\xff", b"a"], pa.binary(1)), ["ff", "a"]),
        "float": (pa.array([1.0, float("nan")]), ["1.0", None]),
    }
    for name, (column, expected) in columns.items():
        assert read(pa.table({"text": ["a", "b"], "id": column})).column("id") == expected, name


def test_old_timestamps_of_96_bits_hold_any_year() -> None:
    moments = [dt.datetime(1066, 10, 14), dt.datetime(9999, 12, 31, 23, 59, 59)]
    table = pa.table({"text": ["a", "b"], "created": pa.array(moments, pa.timestamp("us"))})
    raw = written(table, use_deprecated_int96_timestamps=True, store_schema=False)
    assert read(raw).column("created") == ["1066-10-14T00:00:00", "9999-12-31T23:59:59"]


def test_of_a_repeated_name_the_last_counts_as_in_json() -> None:
    table = pa.table(
        [pa.array([1]), pa.array(["first"]), pa.array(["x"]), pa.array(["last"]), pa.array(["y"])],
        names=["text", "text", "other", "text", "other"],
    )
    (row,) = read(table).rows
    assert (row["text"], row["extra"]) == ("last", {"other": "y"})


def test_a_column_belongs_to_the_first_that_claims_it() -> None:
    fields = {"id": "a", "source": "a", "metadata": "text"}
    (row,) = read(pa.table({"text": ["t"], "a": ["1"], "id": ["2"]}), fields=fields).rows
    assert (row["text"], row["id"], row["source"], row["metadata"]) == ("t", "1", None, {})
    assert row["extra"] == {"id": "2"}


def test_a_text_that_is_no_string_fails_its_row_and_says_what_it_is() -> None:
    for column, what in (
        (pa.array([1, None]), "int"),
        (pa.array([1.5, None], pa.float16()), "float"),
        (pa.array([decimal.Decimal("1.5"), None], pa.decimal128(5, 1)), "decimal128(5, 1)"),
        (pa.array([["a"], None]), "list<element: string>"),
        (ODD["uuid"].slice(0, 1), "extension<arrow.uuid>"),
    ):
        found = read(pa.table({"text": column}))
        expected = [(1, f"'text' is {what}; expected a string"), (2, "'text' is null; expected a string")]
        assert found.reasons == expected[: len(column)]
        assert found.batches == []


def not_utf8(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def test_a_row_that_fails_leaves_its_neighbours_alone() -> None:
    deep = '{"a":' * 254 + "1" + "}" * 254
    table = pa.table(
        {
            "text": pa.array([b"0", b"1", b"\xff", b"3", None, b"5", b"6", b"7"]),
            "id": not_utf8(b"0", b"\xfe", b"2", b"3", b"\xfe", b"5", b"6", b"7"),
            "metadata": ["{}", "1", "2", deep, "4", "5", "6", '{"a": 7}'],
            "nested": pa.StructArray.from_arrays(
                [pa.ListArray.from_arrays(range(9), not_utf8(*[b"n"] * 5, b"\xff", b"n", b"n"))], names=["list"]
            ),
            "deep": pa.ExtensionArray.from_storage(pa.json_(), pa.array([*["1"] * 6, "[" * 254 + "]" * 254, "1"])),
        }
    )
    found = read(table)
    assert found.column("text") == ["0", "7"]
    assert found.column("metadata") == [{}, {"a": 7}]
    assert found.column("extra") == [{"nested": {"list": ["n"]}, "deep": 1}] * 2
    assert found.locs == [1, 8]
    assert found.reasons == [
        (2, "encoding: 'id' holds bytes that are not valid UTF-8"),
        (3, "encoding: 'text' holds bytes that are not valid UTF-8"),
        (4, "objects or lists more than 253 levels deep"),
        (5, "encoding: 'id' holds bytes that are not valid UTF-8"),
        (6, "encoding: 'nested' holds bytes that are not valid UTF-8"),
        (7, "objects or lists more than 253 levels deep"),
    ]


def plain_batches(sizes: list[int | None], max_rows: int, max_bytes: int) -> list[list[int]]:
    """Rows of each batch; a size of None is a row that fails."""
    batches: list[list[int]] = []
    held: list[int] = []
    num_bytes = 0
    for row, size in enumerate(sizes):
        if size is None:
            continue
        if held and (len(held) == max_rows or num_bytes + size > max_bytes):
            batches.append(held)
            held, num_bytes = [], 0
        held.append(row)
        num_bytes += size
    return [*batches, held] if held else batches


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=40),
    st.integers(1, 9),
    st.integers(4, 70),
    st.sampled_from([1, 60, 10_000]),
    st.sampled_from([*STRINGS]),
)
def test_batches_depend_on_the_rows_alone(
    lengths: list[int | None], group_rows: int, max_bytes: int, part_bytes: int, kind: str
) -> None:
    texts = [None if length is None else "x" * length for length in lengths]
    table = pa.table({"text": STRINGS[kind](texts), "id": pa.array(range(len(texts)), pa.int8())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "MAX_BATCH_ROWS", 5)
        patch.setattr(parquet, "MAX_BATCH_BYTES", max_bytes)
        patch.setattr(parquet, "_PART_BYTES", part_bytes)
        found = read(table, row_group_size=group_rows)
    sizes = [None if n is None else n + len(str(row)) + len("{}{}") for row, n in enumerate(lengths)]
    expected = plain_batches(sizes, 5, max_bytes)
    assert [batch.table.column("id").to_pylist() for batch in found.batches] == [[*map(str, rows)] for rows in expected]
    assert [batch.locs.tolist() for batch in found.batches] == [[row + 1 for row in rows] for rows in expected]
    first_rows = np.cumsum([0, *map(len, expected)]).tolist()[:-1]
    assert [batch.first_row for batch in found.batches] == first_rows[: len(expected)]
    assert found.column("text") == [text for text in texts if text is not None]


def test_long_texts_make_small_batches() -> None:
    found = read(pa.table({"text": ["x" * (MAX_BATCH_BYTES // 3)] * 7, "other": ["y"] * 7}))
    assert [len(batch) for batch in found.batches] == [2, 2, 2, 1]


def test_a_row_beyond_the_limit_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_LINE_BYTES", 50)
    monkeypatch.setattr(parquet, "_PART_BYTES", 60)
    found = read(pa.table({"text": ["a", "b" * 60, "c", "d"], "other": ["x", "x", "y" * 80, "x"]}))
    assert found.column("text") == ["a", "d"]
    assert found.reasons == [
        (2, "a row of 75 bytes; at most 50 are read"),
        (3, "a row of 92 bytes; at most 50 are read"),
    ]


class Dribble(io.BytesIO):
    """A file whose reads give a few bytes at most."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size, 3) if size and size > 0 else size)


def test_short_reads_are_not_the_end_of_a_file() -> None:
    raw = written(pa.table({"text": [f"text {i}" for i in range(500)]}), row_group_size=100)
    file = Dribble(raw)
    with parquet.open_parquet(file) as opened:
        assert opened.read().column("text").to_pylist() == [f"text {i}" for i in range(500)]
    assert not file.closed


def lost(error: Exception) -> str:
    """What is reported of a file that raises this when it is opened."""
    failures: list[Failure] = []

    def opened() -> Any:
        raise error

    assert open_or_lose(opened, "f.parquet", failures.append) is None
    (failure,) = failures
    assert failure.lost
    return failure.reason


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowNotImplementedError("Support for codec 'lzo' not built"),
        pa.ArrowCapacityError("array cannot contain more than 2147483646 bytes"),
        OSError("Couldn't deserialize thrift: TProtocolException: Exceeded size limit"),
        pa.ArrowInvalid("Cannot decrypt ColumnMetadata. FileDecryptionProperties is not setup correctly"),
    ],
    ids=["codec", "capacity", "thrift", "encrypted"],
)
def test_limits_are_not_called_damage(error: Exception) -> None:
    assert lost(error) == (
        f"this Parquet need not be damaged, but it cannot be read here: {error}. Write it again in "
        "another way: smaller row groups, another codec, no encryption"
    )


def test_damage_and_the_systems_errors_stay_what_they_are(tmp_path: Path) -> None:
    assert lost(pa.ArrowInvalid("Unexpected end\nof stream")) == "damaged Parquet: Unexpected end of stream"
    with pytest.raises(FileNotFoundError):
        open_or_lose(lambda: pq.ParquetFile(tmp_path / "none"), "f", lambda _: None)
    with pytest.raises(MemoryError, match="malloc of size 4096 failed"):
        lost(pa.ArrowMemoryError("malloc of size 4096 failed"))


def test_a_codec_that_arrow_has_not_is_a_limit() -> None:
    raw = bytearray(written(pa.table({"text": ["a" * 50]}), compression="snappy", use_dictionary=False))
    length = int.from_bytes(raw[-8:-4], "little")
    footer = raw[-8 - length : -8]
    # Thrift's compact form: behind the column's path stands the codec, an enum (zigzag): snappy is 1, LZO 3.
    path_and_codec = b"\x19\x18\x04text\x15\x02"
    assert footer.count(path_and_codec) == 1
    raw[-8 - length + footer.index(path_and_codec) + len(path_and_codec) - 1] = 6
    (reason,) = [reason for _, reason in read(bytes(raw)).reasons]
    assert reason.startswith("this Parquet need not be damaged, but it cannot be read here: ")
    assert "LZO" in reason
