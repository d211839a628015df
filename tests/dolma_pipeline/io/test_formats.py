"""Which format a file has, and a format from outside that is planned and read like ours."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.documents import SCHEMA, Batch
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.io import formats, paths
from dolma_pipeline.io.check_formats import check_formats
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.formats import (
    FORMATS,
    DocumentFormat,
    Range,
    Reading,
    document_format,
    format_of,
    known_formats,
    recognized,
    register,
)
from dolma_pipeline.io.jsonl import Failure, Report
from dolma_pipeline.io.shards import Shard, plan_shards
from dolma_pipeline.io.streams import Damaged
from dolma_pipeline.storage.inputs import open_stream
from tests.dolma_pipeline.storage.fake_web import web_serving

MARK = b"#table\n"


class TableReading(Reading):
    """Rows `id,text` below a mark, up to one that says `broken`."""

    def __iter__(self) -> Iterator[Batch]:
        """Its batches."""
        rows: list[dict[str, str]] = []
        locs: list[int] = []
        broken = False
        with self.open() as file:
            lines = io.TextIOWrapper(file, newline="")
            start, end = self.shard.start or 0, self.shard.end
            for number, row in enumerate(csv.reader(lines), 1):
                if number == 1 or not start <= number - 2 < (end or 1 << 60):
                    continue
                if row == ["broken"]:
                    broken = True
                    break
                if len(row) != 2:
                    self.report(Failure(self.shard.path, f"{len(row)} cells; expected 2", line=number))
                    continue
                rows.append({"id": row[0], "text": row[1], "metadata": "{}", "extra": "{}"})
                locs.append(number)
        if rows:
            table = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
            yield Batch(table, shard=self.shard.name, first_row=0, locs=np.array(locs, np.int64))
        if broken:
            raise Damaged("broken off")


class Table(DocumentFormat):
    """A toy format."""

    name = "table"
    endings = (".tab",)

    def recognizes(self, head: bytes, name: str) -> bool:
        """By its mark."""
        return head.startswith(MARK)

    def plan(self, path: str, size: int, split_bytes: int) -> list[Range] | None:
        """A range a row."""
        if size <= split_bytes:
            return None
        num_rows = Path(path).read_bytes().count(b"\n") - 1
        return [Range(i, i + 1, size // num_rows) for i in range(num_rows)]

    def read(self, shard: Shard, *, report: Report, fields: Mapping[str, str]) -> TableReading:
        """Its rows."""
        return TableReading(shard, report=report, fields=fields)


@pytest.fixture
def table() -> Iterator[None]:
    known_formats()
    register(Table())
    yield
    del FORMATS["table"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(*shards: Shard) -> tuple[list[str], list[Failure]]:
    failures: list[Failure] = []
    places = [next(Path().rglob(shard.path)) for shard in shards]
    readers = [ShardReader(one, str(place), report=failures.append) for one, place in zip(shards, places, strict=True)]
    return [text for reader in readers for batch in reader for text in batch.strings], failures


def test_ours_are_known_and_others_are_an_error() -> None:
    assert [one.name for one in known_formats()] == ["parquet", "jsonl"]
    assert document_format("jsonl").endings == (".jsonl", ".json", ".ndjson")
    with pytest.raises(UnknownNameError, match=r"no document format named 'parket'\. Did you mean 'parquet'\? Its mod"):
        document_format("parket")


def test_a_file_is_what_its_first_bytes_say_and_else_what_its_name_says(here: Path) -> None:
    lines = b'{"text": "a"}\n'
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), out)
    for name, content, expected in [
        ("a.jsonl", lines, "jsonl"),
        ("a.parquet", lines, "jsonl"),
        ("b.jsonl", out.getvalue(), "parquet"),
        ("c", out.getvalue(), "parquet"),
        ("d", gzip.compress(lines), "jsonl"),
        ("e.parquet", b"", "parquet"),
        ("f.PARQUET", b"broken", "parquet"),
        ("g.txt", b"text", "jsonl"),
        ("h.json.gz", b"text", "jsonl"),
    ]:
        Path(name).write_bytes(content)
        assert format_of(name).name == expected, name
    assert recognized(b"text", "a.jsonl") is None


def test_a_url_is_told_by_its_content_as_a_path_is() -> None:
    with web_serving() as server:
        server.files |= {"/a.jsonl": b"PAR1\x15", "/b.parquet": b'{"text": "x"}\n', "/c.parquet": b"what is it"}
        assert [format_of(f"{server.url}{name}").name for name in server.files] == ["parquet", "jsonl", "parquet"]


@pytest.mark.usefixtures("table")
def test_a_format_from_outside_is_planned_named_read_and_not_told(here: Path) -> None:
    Path("d").mkdir()
    Path("d/x.tab").write_bytes(MARK + b"1,one\n2\n3,three\n")
    Path("d/y.tab.gz").write_bytes(b'{"text": "lines"}\n')
    assert [one.name for one in known_formats()] == ["table", "parquet", "jsonl"]
    x, y = plan_shards({"web": ["d/*"]}, split_bytes=1 << 30)
    assert (x.name, x.format, y.name, y.format) == ("web/x", "table", "web/y", "jsonl")
    found, failures = texts(x, y)
    assert found == ["one", "three", "lines"]
    assert failures == [Failure("x.tab", "1 cells; expected 2", line=3)]
    ranges = plan_shards({"web": ["d/x.tab"]}, split_bytes=4)
    assert [(one.name, one.start, one.end) for one in ranges] == [(f"web/x@{i:05d}", i, i + 1) for i in range(3)]
    assert texts(*ranges) == (["one", "three"], failures)
    assert check_formats([("d/x.tab", open_stream)]) == []


@pytest.mark.usefixtures("table")
def test_the_hash_of_a_file_is_made_where_the_format_makes_none(here: Path) -> None:
    Path("x.tab").write_bytes(MARK + b"1,one\n")
    (shard,) = plan_shards({"web": ["x.tab"]}, split_bytes=1 << 30)
    reader = ShardReader(shard, report=[].append)
    assert len(list(reader)) == 1
    assert reader.sha256 == paths.sha256_file(Path("x.tab"))


@pytest.mark.usefixtures("table")
def test_damage_that_a_format_from_outside_raises_loses_the_file(here: Path) -> None:
    Path("x.tab").write_bytes(MARK + b"1,one\nbroken\n2,two\n")
    (shard,) = plan_shards({"web": ["x.tab"]}, split_bytes=1 << 30)
    assert texts(shard) == (["one"], [Failure("x.tab", "broken off", lost=True)])


@pytest.mark.usefixtures("table")
def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    register(Table())
    monkeypatch.setattr(Table, "__module__", "theirs")
    foreign = type("Table", (Table,), {"__module__": "ours"})
    with pytest.raises(
        UsageError, match=r"^format 'table' is registered twice: in theirs and in ours\. Rename yours\.$"
    ):
        register(foreign())


def distribution(folder: Path, module: str) -> None:
    info = folder / "their_formats-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-formats\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dolma_pipeline.formats]\ntheirs = their_formats\n")
    (folder / "their_formats.py").write_text(module)


@pytest.fixture
def opened_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    before = dict(FORMATS)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    formats._load_entry_points.cache_clear()
    yield tmp_path
    sys.modules.pop("their_formats", None)
    FORMATS.clear()
    FORMATS.update(before)
    formats._load_entry_points.cache_clear()


def test_installed_distributions_bring_formats(opened_anew: Path) -> None:
    distribution(
        opened_anew,
        "from dolma_pipeline.io.format_jsonl import JsonLines\n"
        "from dolma_pipeline.io.formats import register\n"
        "class Theirs(JsonLines):\n"
        "    name = 'theirs'\n"
        "register(Theirs())\n",
    )
    assert "theirs" in [one.name for one in known_formats()]


def test_a_distribution_that_cannot_be_imported_is_named(opened_anew: Path) -> None:
    distribution(opened_anew, "import no_such_module\n")
    with pytest.raises(
        UsageError,
        match=r"^module 'their_formats' \(entry point 'theirs' of their-formats\) needs the module 'no_such_module', ",
    ):
        known_formats()
    (opened_anew / "their_formats.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as error:
        known_formats()
    assert error.value.__notes__ == ["while importing module 'their_formats' (entry point 'theirs' of their-formats)"]
