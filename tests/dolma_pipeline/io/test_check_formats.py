"""Which files are looked at, how much of each, and what the launcher says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.io.check_formats import check_formats, told
from dolma_pipeline.io.seems import Finding

GOOD = b'{"text": "a"}\n'


def local(path: str) -> BinaryIO:
    return open(path, "rb")


class Store:
    """Files in memory, handed out a few bytes at a time; notes what is opened and how far it is read."""

    def __init__(self, files: dict[str, bytes], *, piece: int = 1 << 20, seekable: bool = True) -> None:
        self.files, self.piece, self.can_seek = files, piece, seekable
        self.opened: list[str] = []
        self.num_bytes = 0

    def open(self, path: str) -> BinaryIO:
        store = self
        self.opened.append(path)

        class File(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                data = super().read(min(size or 0, store.piece))
                store.num_bytes += len(data)
                return data

            def seekable(self) -> bool:
                return store.can_seek

        return File(self.files[path])

    def findings(self, **options: int) -> list[Finding]:
        return check_formats(((path, self.open) for path in self.files), **options)


def test_findings_come_in_the_order_of_the_files() -> None:
    store = Store({"b.csv": b"id,text\n1,a\n2,b\n", "a.jsonl": GOOD, "a.html": b"<html>", "c.jsonl": b""})
    assert [(one.path, one.what.split(" (")[0]) for one in store.findings()] == [
        ("b.csv", "CSV"),
        ("a.html", "an HTML page"),
    ]


@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_only_first_bytes_are_read_however_few_come_at_a_time(piece: int) -> None:
    store = Store({"a.jsonl": b"text\n" * 1_000_000, "b.jsonl": b"first\n" + GOOD}, piece=piece)
    assert [one.path for one in store.findings(head_bytes=1_000)] == ["a.jsonl"]
    assert store.num_bytes == 1_000 + len(b"first\n" + GOOD)


def test_at_most_so_many_files_evenly_and_the_same_ones() -> None:
    files = {f"{i:03d}": b"text" for i in range(100)}
    store = Store(files)
    assert [one.path for one in store.findings(most=4)] == ["000", "025", "050", "075"]
    assert store.opened == ["000", "025", "050", "075"]
    assert len(Store(files).findings(most=99)) == 99
    assert len(Store(files).findings()) == 100
    assert Store({}).findings() == []


def parquet(rows: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [f"some text, {i}" for i in range(rows)]}), out, compression="none")
    return out.getvalue()


@pytest.mark.parametrize("rows", [1, 20_000])
def test_parquet_without_its_end(rows: int) -> None:
    whole = parquet(rows)
    files = {"whole.parquet": whole, "cut.parquet": whole[:-9], "cut": whole[: len(whole) // 2], "4": whole[:8]}
    findings = Store(files).findings()
    assert [one.path for one in findings] == ["cut.parquet", "cut", "4"]
    assert {one.what for one in findings} == {"Parquet whose end is missing"}
    if rows > 1:
        unseekable = Store(files, seekable=False)
        assert [one.path for one in unseekable.findings()] == ["4"]
        assert unseekable.num_bytes == 8 + 65_536 * 3


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        check_formats([(str(tmp_path / "gone.jsonl"), local)])
    (tmp_path / "here.jsonl").write_bytes(GOOD)
    assert check_formats([(str(tmp_path / "here.jsonl"), local)]) == []


def test_the_text_of_the_error() -> None:
    store = Store({"data/a.json": json.dumps([{"text": "a"}] * 2).encode(), "data/b.xz": b"\xfd7zXZ\0"})
    assert told(store.findings()).splitlines() == [
        "2 files are of no format that is read (jsonl, parquet):",
        "  data/a.json: seems to be a JSON array. Convert it to one object a line, e.g. jq -c '.[]' FILE > FILE.jsonl.",
        "  data/b.xz: seems to be a file compressed by xz. "
        "Compress it as gzip or zstd instead, e.g. xz -dc FILE | zstd > FILE.zst.",
        "Nothing was started. Take them out of the sources, or allow them with max_failed_files=2.",
    ]
    assert told([]) == ""
    one = Finding("x", "a PDF", "Take the text out of it first.")
    assert told([one]) == (
        "1 file is of no format that is read (jsonl, parquet):\n"
        "  x: seems to be a PDF. Take the text out of it first.\n"
        "Nothing was started. Take it out of the sources, or allow it with max_failed_files=1."
    )
    lines = told([one] * 12).splitlines()
    assert len(lines) == 8
    assert lines[-2:] == [
        "  … and 7 more.",
        "Nothing was started. Take them out of the sources, or allow them with max_failed_files=12.",
    ]


def test_files_that_were_lost_before_count_in_the_advice() -> None:
    finding = Finding("a.csv", "CSV", "Convert it.")
    assert told([finding], lost=2).splitlines()[-1] == (
        "Nothing was started. Take it out of the sources, or allow it with max_failed_files=3 "
        "(2 could not be read to the end before)."
    )
