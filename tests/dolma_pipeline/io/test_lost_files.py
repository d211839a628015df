"""Every kind of damage to files of lines is a lost file, with what came before; broken lines alone are none."""

from __future__ import annotations

import errno
import gzip
import io
import struct
from pathlib import Path

import orjson
import pytest
import zstandard

from dolma_pipeline.io import documents, paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
from tests.dolma_pipeline.io.local_shards import planned

ROWS = [{"text": f"document {i} {i * 7919 % 9973}"} for i in range(2_000)]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
GZIP = gzip.compress(LINES, mtime=0)
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(LINES)
TEXTS = [row["text"] for row in ROWS]


def read(path: Path) -> tuple[list[str], list[Failure], ShardReader]:
    (shard,) = planned(path, split_bytes=1 << 30)
    failures: list[Failure] = []
    reader = ShardReader(shard, report=failures.append)
    return [text for batch in reader for text in batch.strings], failures, reader


DAMAGE = {
    "gzip, cut": (GZIP[: len(GZIP) // 2], "truncated: the file ends inside a gzip member"),
    "gzip, cut in its last bytes": (GZIP[:-3], "truncated: the file ends inside a gzip header or trailer"),
    "gzip, cut in the second member": (GZIP + GZIP[:5], "truncated: the file ends inside a gzip header or trailer"),
    "gzip, cut in a header": (GZIP[:7], "truncated: the file ends inside a gzip header or trailer"),
    "gzip, header": (GZIP[:2] + b"\x07" + GZIP[3:], "damaged gzip header: compression method 7, only 8 exists"),
    "gzip, data": (GZIP[:10] + b"\xff" * 50, "damaged gzip data: "),
    "gzip, second member": (GZIP + GZIP[:10] + b"\xff" * 50, "damaged gzip data: "),
    "zstd, cut": (ZSTD[: len(ZSTD) // 2], "truncated: the file ends inside a zstd frame"),
    "zstd, checksum": (ZSTD[:-1] + bytes([ZSTD[-1] ^ 1]), "damaged zstd data: "),
    "zstd, data": (ZSTD[:1_000] + b"\xff" * 400 + ZSTD[1_400:], "damaged zstd data: "),
    "UTF-16": (LINES.decode().encode("utf-16"), "encoding: this is UTF-16; convert the file to UTF-8"),
    "UTF-16 in gzip": (gzip.compress(LINES.decode().encode("utf-16")), "encoding: this is UTF-16; convert"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_cannot_be_read_to_its_end_is_lost(tmp_path: Path, kind: str) -> None:
    raw, reason = DAMAGE[kind]
    path = tmp_path / "f.jsonl"
    path.write_bytes(raw)
    texts, failures, reader = read(path)
    assert texts == (TEXTS + TEXTS)[: len(texts)]
    *broken_lines, lost = failures  # damaged data may decompress to nonsense before it is noticed
    assert not any(failure.lost for failure in broken_lines)
    assert lost.lost
    assert lost.reason.startswith(reason)
    assert lost.line == len(texts) + len(broken_lines) + 1
    assert reader.lost == lost.reason
    assert reader.sha256 == paths.sha256_file(path)


COMPLETE = {
    "crc": GZIP[:-8] + struct.pack("<II", 7, len(LINES)),
    "length": GZIP[:-4] + struct.pack("<I", len(LINES) + 1),
    "garbage behind gzip": GZIP + b"garbage",
}


@pytest.mark.parametrize("kind", COMPLETE)
def test_content_that_nothing_vouches_for_is_lost_as_well_and_kept(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(COMPLETE[kind])
    texts, (failure,), reader = read(path)
    assert texts == TEXTS
    assert failure.lost
    assert failure.reason.endswith("; content may be missing or wrong")
    assert reader.lost == failure.reason


def test_garbage_behind_zstd_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(ZSTD + b"garbage")
    texts, (failure,), _ = read(path)
    assert texts == TEXTS
    assert failure.lost


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        LINES,
        GZIP,
        GZIP + GZIP,
        GZIP + bytes(512),
        ZSTD,
        gzip.compress(b"", mtime=0),
        LINES[:-10],
        LINES + b"\xff\xfe broken\n",
        LINES + b'{"text": 1}\n{"id": 1}\nnonsense',
    ],
)
def test_broken_lines_alone_lose_no_file(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(raw)
    _, failures, reader = read(path)
    assert reader.lost == ""
    assert not any(failure.lost for failure in failures)


def test_a_file_of_no_known_format_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\0" * 100)
    _, failures, reader = read(path)
    assert reader.lost == "no known format: it seems to be nothing but zero bytes"
    assert sum(failure.lost for failure in failures) == 1


def test_a_failure_of_a_line_before_the_damage_is_not_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(b"nonsense\n" + LINES)[:-2])
    _, (line, lost), reader = read(path)
    assert (line.line, line.lost) == (1, False)
    assert reader.lost == lost.reason
    assert (lost.line, lost.lost) == (len(ROWS) + 2, True)


class Broken(io.BytesIO):
    """A disk that fails on the second read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 5:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("raw", [LINES, GZIP, ZSTD], ids=["plain", "gzip", "zstd"])
def test_what_the_system_says_stays_an_error(tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard("s/f", "s", str(tmp_path / "gone.jsonl"), "jsonl")
    with pytest.raises(FileNotFoundError, match="gone"):
        list(ShardReader(shard, report=[].append))
    monkeypatch.setattr(documents, "open_stream", lambda path, start=0: Broken(raw))
    with pytest.raises(OSError, match="Input/output error"):
        list(ShardReader(shard, report=[].append))


def test_lost_files_of_the_data(data: Path) -> None:
    lost = {}
    for path in sorted((data / "hostile").glob("*.jsonl*")):
        if path.name != "manifest.jsonl":
            reader = read(path)[2]
            if reader.lost:
                lost[path.name] = reader.lost.split(":")[0]
    assert lost == {
        "bad_crc.jsonl.gz": "crc",
        "trailing_garbage.jsonl.gz": "garbage after the last gzip member; content may be missing or wrong",
        "truncated.jsonl.gz": "truncated",
        "truncated.jsonl.zst": "truncated",
        "utf16.jsonl": "encoding",
    }
