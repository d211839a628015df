"""Files made by the libraries that write them are told by their first bytes, plain and inside gzip and zstd."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
import zstandard

from dolma_pipeline.io.magic import kind_of
from dolma_pipeline.io.seems import seems

LINES = b'{"text": "a document that is repeated"}\n' * 200
TABLE = pa.table({"text": ["one", "two"] * 50})


def made_by_arrow(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "feather":
        pyarrow.feather.write_feather(TABLE, out)
    elif kind == "orc":
        pyarrow.orc.write_table(TABLE, out)
    else:
        with pa.ipc.new_stream(out, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return out.getvalue()


def lz4() -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "lz4") as file:
        file.write(LINES)
    return out.getvalue().to_pybytes()


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, LINES)
    return out.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def sqlite(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("CREATE TABLE documents (text TEXT)")
    database.close()
    return (folder / "x.db").read_bytes()


def numpy_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(20))
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(TABLE, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {
        "a file compressed by xz": lzma.compress(LINES),
        "a file compressed by bzip2": bz2.compress(LINES),
        "a file compressed by lz4": lz4(),
        "a zip archive": zipped("x.jsonl"),
        "an Office document (a zip of XML)": zipped("[Content_Types].xml"),
        "an empty zip archive": b"PK\x05\x06" + bytes(18),
        "a tar archive": tarred("x.bin", bytes(range(256)) * 8),
        "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(24),
        "a RAR archive": b"Rar!\x1a\x07\x01\0" + bytes(24),
        "an Arrow IPC file (Feather)": made_by_arrow("feather"),
        "an Arrow IPC stream": made_by_arrow("stream"),
        "an ORC file": made_by_arrow("orc"),
        "an Avro file": b"Obj\x01\x04\x16avro.schema",
        "an SQLite database": sqlite(tmp_path_factory.mktemp("sqlite")),
        "a NumPy array": numpy_array(),
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(40),
        "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\n",
        "a PNG image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "a JPEG image": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "a WARC file": b"WARC/1.0\r\nWARC-Type: warcinfo\r\n\r\n",
        "a Git LFS pointer, not the file itself": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
        ),
        "encrypted Parquet": b"PARE" + bytes(20),
    }


def test_each_kind_is_told_with_what_to_do(made: dict[str, bytes]) -> None:
    for what, content in made.items():
        kind = kind_of(content)
        assert kind is not None
        assert kind.what == what
        assert re.fullmatch(r"[A-Z].*\.", kind.advice)
        assert not re.search(r"\. [A-Z]", kind.advice), "one sentence"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_kind_is_told_inside_a_compression(made: dict[str, bytes], pack: object) -> None:
    assert callable(pack)
    for what, content in made.items():
        finding = seems(pack(content), name="data/x.jsonl")
        assert finding is not None
        assert finding.what == what


def test_compressed_twice(made: dict[str, bytes]) -> None:
    twice = {
        "a gzip file inside another compression": zstandard.compress(gzip.compress(LINES)),
        "a zstd file inside another compression": gzip.compress(zstandard.compress(LINES)),
        "Parquet inside a compression, or damaged Parquet": gzip.compress(parquet()),
    }
    for what, content in twice.items():
        finding = seems(content, name="x")
        assert finding is not None
        assert finding.what == what


@pytest.mark.parametrize(
    "content",
    [b"", b"ORCHESTRA of the city", b"BZh is no magic alone", b"\xff\xff\xff\xff\x05\0\0\0", b"Obj", b"PARIS", b"{"],
)
def test_what_only_begins_alike_is_no_kind(content: bytes) -> None:
    assert kind_of(content) is None
