"""Batches of a shard, from Parquet and from lines, whole and in ranges; what `normalize` does to texts."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SCHEMA, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
from tests.dolma_pipeline.io.local_shards import planned


class Read:
    """All rows of some shards, one after the other."""

    def __init__(self, *shards: Shard, **options: Any) -> None:
        self.failures: list[Failure] = []
        self.batches: list[Batch] = []
        self.sha256: list[str | None] = []
        for shard in shards:
            reader = ShardReader(shard, report=self.failures.append, **options)
            self.batches += list(reader)
            self.sha256.append(reader.sha256)
        self.rows = [row for batch in self.batches for row in batch.table.to_pylist()]
        self.locs = [loc for batch in self.batches for loc in batch.locs.tolist()]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def parquet(path: Path, columns: dict[str, Any], *, rows: int | None = None, schema: Any = None) -> Shard:
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=rows)
    return Shard("s/f", "s", str(path), "parquet")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.parquet"


def test_columns_of_parquet_become_those_of_documents(file: Path) -> None:
    shard = parquet(
        file,
        {
            "text": ["one", "two"],
            "id": [1, 2],
            "source": pa.array(["web", None]).dictionary_encode(),
            "added": [dt.date(2024, 1, 2), None],
            "created": pa.array([1_500_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "metadata": [{"url": "u", "tags": ["a"], "at": dt.datetime(2020, 5, 6, 7, 8)}, None],
            "stars": [3, 4],
            "score": [0.5, float("nan")],
        },
    )
    read = Read(shard)
    assert read.failures == []
    assert read.batches[0].table.schema == SCHEMA
    first, second = read.rows
    assert (first["id"], first["text"], first["source"], first["added"]) == ("1", "one", "web", "2024-01-02")
    assert first["created"] == "2017-07-14T02:40:00.123456+00:00"
    assert json.loads(first["metadata"]) == {"url": "u", "tags": ["a"], "at": "2020-05-06T07:08:00"}
    assert json.loads(first["extra"]) == {"stars": 3, "score": 0.5}
    assert (second["source"], second["added"], second["created"], second["metadata"]) == (None, None, None, "{}")
    assert json.loads(second["extra"]) == {"stars": 4, "score": None}
    assert read.locs == [1, 2]


def test_types_that_json_does_not_know_are_written_as_text(file: Path) -> None:
    strings = pa.map_(pa.string(), pa.string())
    columns = {
        "text": pa.array(["t"], pa.large_string()),
        "id": pa.array([b"\xfe\xff"]),
        "metadata": pa.array([[("lang", "en"), ("n", None)]], strings),
        "bytes": pa.array([b"text"]),
        "price": pa.array([decimal.Decimal("1.50")]),
        "length": pa.array([1_500_000_001], pa.duration("ns")),
        "at": pa.array([1], pa.time64("ns")),
        "nested": pa.array([[{"when": 1_000_000_001}]], pa.list_(pa.struct([("when", pa.timestamp("ns"))]))),
        "by_number": pa.array([[(1, b"\xff")]], pa.map_(pa.int64(), pa.binary())),
    }
    (row,) = Read(parquet(file, columns)).rows
    assert row["id"] == "feff"
    assert json.loads(row["metadata"]) == {"lang": "en", "n": None}
    assert json.loads(row["extra"]) == {
        "bytes": "text",
        "price": "1.50",
        "length": "0:00:01.500000",
        "at": "00:00:00",
        "nested": [{"when": "1970-01-01T00:00:01"}],
        "by_number": {"1": "ff"},
    }


def test_rows_without_a_text_are_reported_and_their_neighbours_come_through(file: Path) -> None:
    shard = parquet(file, {"text": ["a", None, "", "b"], "id": ["0", "1", "2", "3"]})
    read = Read(shard)
    assert read.column("text") == ["a", "", "b"]
    assert read.locs == [1, 3, 4]
    assert read.failures == [Failure(str(file), "'text' is null; expected a string", line=2)]
    numbers = Read(parquet(file, {"body": [1, 2]}), fields={"text": "body"})
    assert [(f.line, f.reason) for f in numbers.failures] == [
        (1, "'body' is int; expected a string"),
        (2, "'body' is int; expected a string"),
    ]


def test_bytes_are_a_text_if_they_are_utf8_and_bad_strings_cost_only_their_row(file: Path) -> None:
    read = Read(parquet(file, {"text": pa.array(["é".encode(), b"\xff", b"b"])}))
    assert read.column("text") == ["é", "b"]
    assert [(f.line, f.reason) for f in read.failures] == [(2, "encoding: 'text' holds bytes that are not valid UTF-8")]
    unchecked = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    read = Read(parquet(file, {"text": ["a", "b", "c"], "url": unchecked}))
    assert read.column("text") == ["a", "c"]
    assert [f.reason for f in read.failures] == ["encoding: 'url' holds bytes that are not valid UTF-8"]


def test_fields_name_other_columns_and_a_wrong_name_says_which_there_are(file: Path) -> None:
    shard = parquet(file, {"content": ["c"], "blob_id": ["b"], "text": ["not this"]})
    (row,) = Read(shard, fields={"text": "content", "id": "blob_id"}).rows
    assert (row["text"], row["id"], json.loads(row["extra"])) == ("c", "b", {"text": "not this"})
    with pytest.raises(DataError) as error:
        Read(shard, fields={"id": "blobid"})
    assert str(error.value) == (
        f"{file}: no column 'blobid'. There are: content, blob_id, text. "
        "Name it in the recipe: sources.s.fields: {id: …}"
    )
    with pytest.raises(DataError, match=r"no column 'text'\. There are: body\. Name it .*: sources\.s\.fields: \{text"):
        Read(parquet(file, {"body": ["x"]}))


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)), max_size=40),
    group_rows=st.integers(1, 10),
    split_bytes=st.integers(1, 400),
)
def test_ranges_of_row_groups_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], group_rows: int, split_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "f.parquet"
    columns = {"text": pa.array(texts, pa.string()), "id": pa.array(range(len(texts)), pa.int64())}
    whole = Read(parquet(path, columns, rows=group_rows))
    shards = planned(path, split_bytes=split_bytes)
    parts = Read(*shards)
    assert parts.rows == whole.rows
    assert parts.locs == whole.locs == [i + 1 for i, text in enumerate(texts) if text is not None]
    assert parts.failures == whole.failures
    if len(shards) > 1:
        assert len({*parts.sha256}) == len(shards)  # each of its own row groups
    for shard in shards:
        origins = [origin for batch in Read(shard).batches for origin in batch.origins()]
        assert origins == [f"{shard.name}#{i}" for i in range(len(origins))]


def test_large_parquet_files_come_in_batches(file: Path) -> None:
    read = Read(parquet(file, {"text": [str(i) for i in range(2_300)]}, rows=700))
    assert [len(batch) for batch in read.batches] == [1000, 1000, 300]
    assert [batch.first_row for batch in read.batches] == [0, 1000, 2000]
    assert read.column("text") == [str(i) for i in range(2_300)]
    assert Read(parquet(file, {"text": pa.array([], pa.string())})).batches == []


@pytest.mark.parametrize("damage", ["cut", "page", "no parquet"])
def test_a_damaged_parquet_file_is_named(file: Path, damage: str) -> None:
    parquet(file, {"text": [f"some text {i}" for i in range(5_000)]})
    raw = bytearray(file.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "page":
        raw[2_000:2_100] = b"\xff" * 100
    else:
        raw[:] = b'{"text": "plain lines"}\n'
    file.write_bytes(raw)
    (failure,) = Read(Shard("s/f", "s", str(file), "parquet")).failures
    assert (failure.path, failure.lost) == (str(file), True)
    assert failure.reason.startswith("damaged Parquet: ")
    with pytest.raises(FileNotFoundError):
        Read(Shard("s/f", "s", str(file) + "x", "parquet"))


def test_lines_are_read_whole_in_ranges_and_compressed_with_the_hash_of_the_file(tmp_path: Path) -> None:
    raw = b"".join(orjson.dumps({"text": f"document {i}", "id": str(i)}) + b"\n" for i in range(50))
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(raw)
    packed.write_bytes(gzip.compress(raw))
    whole = Read(*planned(plain, split_bytes=1 << 30))
    assert whole.column("id") == [str(i) for i in range(50)]
    assert whole.sha256 == [hashlib.sha256(raw).hexdigest()]
    ranges = planned(plain, split_bytes=100)
    assert len(ranges) > 5
    assert Read(*ranges).rows == whole.rows
    # a piece that is read goes beyond the end of so small a range
    read = [raw[max(0, (shard.start or 0) - 1) :] for shard in ranges]
    assert Read(*ranges).sha256 == [hashlib.sha256(piece).hexdigest() for piece in read]
    zipped = Read(*planned(packed, split_bytes=10))
    assert zipped.rows == whole.rows
    assert zipped.sha256 == [hashlib.sha256(packed.read_bytes()).hexdigest()]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.sampled_from([b'{"text": "a"}', b'{"text": 1}', b"no JSON", b"", b"  "]), max_size=12),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    split_bytes=st.integers(1, 120),
)
def test_lines_of_ranges_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[bytes],
    mark: bytes,
    ending: bytes,
    last: bool,
    split_bytes: int,
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "f.jsonl"
    path.write_bytes(mark + ending.join(rows) + ending * last)
    whole = Read(Shard("s/f", "s", str(path), "jsonl"))
    parts = Read(*planned(path, split_bytes=split_bytes))
    assert whole.locs == [i for i, row in enumerate(rows, 1) if row == b'{"text": "a"}']
    assert parts.locs == whole.locs
    assert parts.rows == whole.rows
    lines = [[f for f in read.failures if not f.lost] for read in (whole, parts)]
    lost = [[f for f in read.failures if f.lost] for read in (whole, parts)]
    assert lines[0] == lines[1]
    assert [f.line for f in lines[0]] == [i for i, row in enumerate(rows, 1) if row in (b'{"text": 1}', b"no JSON")]
    assert lost[0] == lost[1]
    assert len(lost[0]) == (b"no JSON" in rows and not {b'{"text": 1}', b'{"text": "a"}'} & {*rows})


HTML = b"<html>\n<body>Not found</body>\n</html>\n"


def test_a_file_of_no_known_format_is_lost_once_whatever_its_ranges_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    why = "no known format: it seems to be an HTML page (often the error page of a download that failed)"
    for data, split_bytes in ((HTML, 1 << 30), (HTML, 10), (gzip.compress(HTML), 10), (b"\n" * 30 + HTML, 10)):
        path.write_bytes(data)
        failures = Read(*planned(path, split_bytes=split_bytes)).failures
        assert [(f.reason, f.line, f.path) for f in failures if f.lost] == [(why, 1, str(path))]
        assert len(failures) == 4


@pytest.mark.parametrize("data", [b"", b"\n \n", b'{"text": "a"}\n<html>\n', b'{"text": 1}\n', b'{"text": "a'])
def test_broken_lines_and_empty_files_are_of_a_known_format(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    for split_bytes in (5, 1 << 30):
        assert not [f for f in Read(*planned(path, split_bytes=split_bytes)).failures if f.lost]


def test_a_damaged_file_is_hashed_to_its_end_and_its_failure_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n') + b"garbage" * 200_000)
    read = Read(*planned(path, split_bytes=1 << 30))
    assert read.column("text") == ["a"]
    assert [(f.path, f.line, f.byte) for f in read.failures] == [(str(path), 2, 14)]
    assert read.sha256 == [hashlib.sha256(path.read_bytes()).hexdigest()]


WHITESPACE = st.text(st.sampled_from(" \t\n\r\u00a0\u2003é\u0301eAﬁ"), max_size=30)


def plain_normalized(text: str, steps: Sequence[str]) -> str:
    for step in steps:
        if step == "nfc":
            text = unicodedata.normalize("NFC", text)
        else:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
    return text


@settings(max_examples=60, deadline=None)
@given(st.lists(WHITESPACE, max_size=8), st.lists(st.sampled_from(["nfc", "whitespace"]), max_size=2))
def test_normalize_changes_texts_in_order_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("normalize") / "f.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": t, "id": t, "x": t}) + b"\n" for t in texts))
    shard = Shard("s/f", "s", str(path), "jsonl")
    read = Read(shard, normalize=steps)
    assert read.column("text") == [plain_normalized(text, steps) for text in texts]
    assert [row | {"text": ""} for row in read.rows] == [row | {"text": ""} for row in Read(shard).rows]
    assert read.locs == list(range(1, len(texts) + 1))


def test_an_unknown_normalization_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"text": "a"}')
    with pytest.raises(DataError, match="no normalization named 'nfkc'; there are nfc and whitespace"):
        Read(Shard("s/f", "s", str(path), "jsonl"), normalize=["nfkc"])
