"""What files of no known format are said to be; and that files in order are left alone."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.io.seems import Finding, seems

ROWS = [{"id": str(i), "text": f"The text of page {i}, with a comma."} for i in range(40)]
CSV = "id,text\n" + "".join(f'{row["id"]},"{row["text"]}"\n' for row in ROWS)


@pytest.mark.parametrize(
    ("what", "advice", "content"),
    [
        ("a JSON array", "jq -c '.[]' ", json.dumps(ROWS)),
        ("a JSON array", "jq -c '.[]' ", json.dumps(ROWS, indent=1)),
        ("a JSON array", "jq -c '.[]' ", "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n"),
        ("a JSON array", "jq -c '.[]' ", json.dumps([{"text": "x" * 100_000}])),
        ("a JSON array of values that are not objects", ".[] | {text: .}", json.dumps(["a", "b"])),
        ("pretty-printed JSON (an object over several lines)", "jq -c . ", json.dumps(ROWS[0], indent=2)),
        (
            "pretty-printed JSON (an object over several lines)",
            "jq -c . ",
            "\n".join(json.dumps(row, indent=4) for row in ROWS),
        ),
        (
            "pretty-printed JSON (an object over several lines)",
            "jq -c . ",
            json.dumps({"pages": [{"text": "x" * 500}] * 300}, indent=1),
        ),
        ("JSON lines that end in \\r alone", "tr ", "\r".join(map(json.dumps, ROWS))),
        ("JSON objects without line ends between them", "jq -c . ", "".join(map(json.dumps, ROWS))),
        ("JSON objects with line ends inside their strings", "\\n", '{"text": "one\ntwo"}\n' * 3),
        ("Python dictionaries, not JSON", "json.dumps", "\n".join(map(str, ROWS))),
        ("a JSON array a line, where objects are expected", "{text: .}", '["a", 1]\n["b", 2]\n'),
        ("a JSON string a line, where objects are expected", "{text: .}", '"a \\" b"\n"c"\n'),
        ("CSV", "DuckDB", CSV),
        ("CSV with semicolons", "DuckDB", CSV.replace(",", ";")),
        ("TSV (tab-separated values)", "DuckDB", "id\ttext\n" + "".join(f"{r['id']}\t{r['text']}\n" for r in ROWS)),
        (
            "an HTML page (often the error page of a download that failed)",
            "Download",
            "<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
        ),
        (
            "an HTML page (often the error page of a download that failed)",
            "Download",
            '<?xml version="1.0"?>\n<!-- x -->\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">\n<html>',
        ),
        (
            "the error message of a server, in XML",
            "Download",
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        ),
        ("XML", "Take the texts", '<?xml version="1.0"?>\n<feed><entry>text</entry></feed>'),
        ("XML", "Take the texts", "<mediawiki xmlns='x'>\n  <page>"),
        ("plain text", '{"text": …}', "It was a dark night.\nThe rain fell, in torrents.\nExcept at times.\n"),
        ("plain text", '{"text": …}', "[INFO] started\n[INFO] ended\n"),
        ("plain text", '{"text": …}', "hello, this is no table\n" * 5),
        ("plain text", '{"text": …}', "日本語の文章です。" * 9_000),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("name", ["data/x.jsonl", "data/x"])
def test_texts_that_are_no_json_lines(what: str, advice: str, content: str, pack: object, name: str) -> None:
    assert callable(pack)
    finding = seems(pack(content.encode())[:65_536], name=name)
    assert finding is not None
    assert (finding.path, finding.what) == (name, what)
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("what", "content"),
    [
        *((f"text in {e[:6]}", json.dumps(ROWS[0]).encode(e)) for e in ("utf-16", "utf-16-le", "utf-16-be")),
        *((f"text in {e[:6]}", json.dumps(ROWS[0]).encode(e)) for e in ("utf-32", "utf-32-le", "utf-32-be")),
        ("text in UTF-16", b"\xfe\xff" + json.dumps(ROWS[0]).encode("utf-16-be")),
        ("text that is not valid UTF-8", ("café au lait\n" * 30).encode("latin-1")),
        ("nothing but zero bytes", bytes(5_000)),
        ("binary data of an unknown kind", bytes(range(256)) * 20),
    ],
)
def test_other_bytes(what: str, content: bytes) -> None:
    finding = seems(content, name="x.jsonl")
    assert finding is not None
    assert finding.what.lower() == what.lower()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), out)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"", mtime=0) * 3,
        zstandard.compress(b""),
        b"".join(json.dumps(row).encode() + b"\n" for row in ROWS),
        gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in ROWS), mtime=0)[:60],
        b"broken\n" + json.dumps(ROWS[0]).encode(),
        b"\x1f\x8b\x08\0\0",
        parquet(),
    ],
)
def test_files_in_order_or_empty_are_left_alone(content: bytes) -> None:
    assert seems(content, name="x.jsonl.gz") is None


def test_an_empty_file_is_no_parquet() -> None:
    assert seems(b"", name="d/X.PARQUET") == Finding(
        "d/X.PARQUET",
        "an empty file",
        "A Parquet file without rows has bytes too: download it again, and look at what the server says.",
    )
    assert seems(parquet(), name="d/x.parquet") is None
    finding = seems(b"no parquet", name="d/x.parquet")
    assert finding is not None
    assert finding.what == "plain text"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=80)
    | st.text(max_size=40).map(str.encode)
    | st.text(st.sampled_from("{}[]\",:\n\r 1a'")).map(str.encode)
)
def test_any_bytes_are_told_or_left_alone(content: bytes) -> None:
    finding = seems(content, name="x")
    assert finding is None or (finding.what and finding.advice.endswith("."))
    if (
        finding is None
        and not content.startswith((b"\x1f\x8b", b"\x28\xb5", b"PAR1"))
        and content[1:4] != b"\x2a\x4d\x18"
    ):
        assert b"{" in content or not content.removeprefix(b"\xef\xbb\xbf").strip()


def test_only_what_is_no_document_file_of_the_data_is_told(data: Path) -> None:
    told = {}
    for folder in ("documents", "hostile", "warc", "dedup", "langid", "pii", "quality", "eval", "contamination"):
        for path in sorted((data / folder).rglob("*")):
            if path.is_file():
                with open(path, "rb") as file:
                    finding = seems(file.read(65_536), name=str(path))
                if finding is not None:
                    told[str(path.relative_to(data))] = finding.what
    assert {name for name in told if ".jsonl" in name} == {"hostile/utf16.jsonl"}
    assert {what for name, what in told.items() if ".warc" in name} == {"a WARC file", "plain text"}
    assert {name for name, what in told.items() if ".warc" in name and what == "plain text"} == {
        "warc/broken/not_warc.warc.gz"
    }


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\xef\xbb\xbf  "])
def test_what_has_nothing_in_it_is_of_no_wrong_format(content: bytes) -> None:
    assert seems(content, name="f.jsonl") is None
