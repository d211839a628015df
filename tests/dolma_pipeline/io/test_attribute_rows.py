"""Rows of a file's attributes for each range of the file: the same documents for every way to cut it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import MisalignedError
from dolma_pipeline.io.attribute_rows import FileRanges
from dolma_pipeline.io.attributes import AttributeReader, attribute_schema
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.shards import Shard, plan_shards

BROKEN, BLANK = b'{"id": "broken"', b""


def document(number: int) -> bytes:
    return orjson.dumps({"id": f"d{number}", "body": "word " * (number % 7)})


def write_documents(folder: Path, lines: list[bytes], *, ends: bool = True) -> list[Shard]:
    path = folder / "big.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends else b""))
    return plan_shards({"s": [str(path)]}, split_bytes=150)


def write_parquet_documents(folder: Path, texts: list[str | None], *, group: int) -> list[Shard]:
    path = folder / "big.parquet"
    ids = [f"d{number}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "body": pa.array(texts, pa.string())}), path, row_group_size=group)
    return plan_shards({"s": [str(path)]}, split_bytes=100)


def write_attributes(folder: Path, ids: list[str | None], form: str) -> Path:
    path = folder / f"attributes.{form}"
    if form == "parquet":
        pq.write_table(
            pa.table({"id": pa.array(ids, pa.string()), "e": pa.array([{"n": n} for n in range(len(ids))], N)}), path
        )
        return path
    lines = [{"id": id_, "attributes": {"e__n": [[0, 0, n]]}} for n, id_ in enumerate(ids)]
    data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if form.endswith("gz") else data)
    return path


N = pa.struct([("n", pa.int64())])
FORMS = ["parquet", "jsonl", "jsonl.gz"]


def taken(shards: list[Shard], path: Path) -> list[tuple[str | None, int]]:
    """Id and attribute of each document, range by range, in an order that is not that of the file."""
    ranges = FileRanges(shards, fields={"text": "body"})
    found: dict[str, list[tuple[str | None, int]]] = {}
    for shard in sorted(shards, key=lambda one: one.name[::-1]):
        reader = AttributeReader(
            path, attribute_schema(path), rows=None if shard.start is None else ranges.rows(shard, path)
        )
        rows: list[tuple[str | None, int]] = []
        for batch in ShardReader(shard, report=lambda failure: None, fields={"text": "body"}):
            column = reader.take(batch).column("e").to_pylist()
            values = [one["n"] if path.suffix == ".parquet" else int(one["n"][0]["score"]) for one in column]
            rows += zip(batch.table.column("id").to_pylist(), values, strict=True)
        reader.finish(len(rows))
        found[shard.name] = rows
    return [row for shard in shards for row in found[shard.name]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["document", "document", "broken", "blank"]), min_size=1, max_size=60),
    st.sampled_from(FORMS),
    st.booleans(),
    st.booleans(),
)
def test_lines_of_every_kind_in_ranges(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], form: str, with_ids: bool, ends: bool
) -> None:
    folder = tmp_path_factory.mktemp("ranges")
    kinds = ["document", *kinds]
    lines = [{"document": document(n), "broken": BROKEN, "blank": BLANK}[kind] for n, kind in enumerate(kinds)]
    shards = write_documents(folder, lines, ends=ends)
    ids = [f"d{n}" for n, kind in enumerate(kinds) if kind == "document"]
    path = write_attributes(folder, [*ids] if with_ids else [None] * len(ids), form)
    assert taken(shards, path) == [(id_, n) for n, id_ in enumerate(ids)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.just("a text of some words"), min_size=8, max_size=40), st.sampled_from(FORMS))
def test_rows_of_parquet_in_ranges(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], form: str
) -> None:
    folder = tmp_path_factory.mktemp("ranges")
    shards = write_parquet_documents(folder, texts, group=4)
    assert len(shards) > 1
    ids = [f"d{n}" for n, text in enumerate(texts) if text is not None]
    path = write_attributes(folder, [*ids], form)
    assert taken(shards, path) == [(id_, n) for n, id_ in enumerate(ids)]


def test_no_document_is_read_where_every_line_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_documents(tmp_path, [document(n) for n in range(50)])
    path = write_attributes(tmp_path, [None] * 50, "jsonl")
    monkeypatch.setattr(FileRanges, "_documents", None)
    rows = [FileRanges(shards).rows(shard, path) for shard in shards]
    assert len(rows) > 3
    assert [n for some in rows for n in some] == [*range(50)]


def test_documents_before_a_range_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_documents(tmp_path, [document(n) if n % 9 else BROKEN for n in range(80)])
    path = write_attributes(tmp_path, [None] * 71, "parquet")
    read: list[str] = []
    real = ShardReader.__iter__

    def counting(self: ShardReader) -> Any:
        read.append(self.shard.name)
        return real(self)

    monkeypatch.setattr(ShardReader, "__iter__", counting)
    ranges = FileRanges(shards, fields={"text": "body"})
    rows = {shard.name: ranges.rows(shard, path) for shard in reversed(shards)}
    assert [n for shard in shards for n in rows[shard.name]] == [*range(71)]
    assert sorted(read) == [shard.name for shard in shards]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_rows_is_an_error_for_some_range(tmp_path: Path, form: str, broken: bool, more: int) -> None:
    """Without ids: nothing but the number of rows can tell."""
    lines = [document(n) for n in range(60)]
    if broken:
        lines[20] = BROKEN
    shards = write_documents(tmp_path, lines)
    path = write_attributes(tmp_path, [None] * (60 - broken + more), form)
    with pytest.raises(MisalignedError, match=rf"^{path}: ") as error:
        taken(shards, path)
    assert "Attributes have a row a document" in str(error.value)


def test_messages_say_what_was_counted(tmp_path: Path) -> None:
    lines = [document(n) for n in range(60)]
    shards = write_documents(tmp_path, lines)
    documents = tmp_path / "big.jsonl"
    path = write_attributes(tmp_path, [None] * 61, "parquet")
    ranges = FileRanges(shards, fields={"text": "body"})
    with pytest.raises(MisalignedError) as error:
        ranges.rows(shards[0], path)
    assert str(error.value) == f"{path}: 61 rows, but {documents} has 60 lines. Attributes have a row a document."
    path = write_attributes(tmp_path, [None] * 59, "parquet")
    with pytest.raises(MisalignedError) as error:
        ranges.rows(shards[-1], path)
    assert str(error.value) == f"{path}: 59 rows, but {documents} has 60 documents. Attributes have a row a document."
    lines[3] = BROKEN  # as many rows as lines, but one line is no document
    shards = write_documents(tmp_path, lines)
    path = write_attributes(tmp_path, [None] * 60, "parquet")
    with pytest.raises(MisalignedError) as error:
        taken(shards, path)
    first = FileRanges(shards).rows(shards[0], path)
    assert str(error.value) == (
        f"{path}: {len(first)} rows, from row 0 on, are those of a range that has {len(first) - 1} documents. "
        "Attributes have a row a document; lines that are blank or cannot be read have none."
    )


def test_a_row_of_another_document_is_an_error_in_every_range(tmp_path: Path) -> None:
    shards = write_documents(tmp_path, [document(n) for n in range(60)])
    ids: list[str | None] = [f"d{n}" for n in range(60)]
    ids[50] = "other"
    path = write_attributes(tmp_path, ids, "jsonl.gz")
    with pytest.raises(
        MisalignedError, match=rf"^{path}: row 50 is of id 'other', but document s/big@\d+#\d+ has id 'd50'"
    ):
        taken(shards, path)
