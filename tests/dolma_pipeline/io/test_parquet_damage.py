"""Damaged Parquet: the rows before the damage come through, the file is told as lost, and nothing else stops."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import documents, paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
from tests.dolma_pipeline.io.local_shards import planned

NUM_ROWS, GROUP = 3_000, 700
TEXTS = [f"text number {i}, with something behind it: {i * 7919 % 1000}" for i in range(NUM_ROWS)]


def parquet(compression: str = "snappy") -> bytes:
    out = io.BytesIO()
    table = pa.table({"text": TEXTS, "id": [str(i) for i in range(NUM_ROWS)]})
    pq.write_table(table, out, row_group_size=GROUP, compression=compression, use_dictionary=False)
    return out.getvalue()


RAW = parquet()
COLUMNS = [pq.read_metadata(io.BytesIO(RAW)).row_group(i).column(0) for i in range(5)]


def read(shard: Shard) -> tuple[list[str], list[Failure], ShardReader]:
    failures: list[Failure] = []
    reader = ShardReader(shard, report=failures.append)
    batches = list(reader)
    texts = [text for batch in batches for text in batch.strings]
    assert [batch.first_row for batch in batches] == [sum(map(len, batches[:i])) for i in range(len(batches))]
    return texts, failures, reader


@pytest.mark.parametrize("group", range(5))
def test_what_stands_before_a_damaged_row_group_is_kept(tmp_path: Path, group: int) -> None:
    path = tmp_path / "f.parquet"
    raw = bytearray(RAW)
    start = COLUMNS[group].data_page_offset
    raw[start : start + COLUMNS[group].total_compressed_size] = bytes(COLUMNS[group].total_compressed_size)
    path.write_bytes(raw)
    texts, (failure,), reader = read(Shard("s/f", "s", str(path), "parquet"))
    assert texts == TEXTS[: group * GROUP]
    assert (failure.path, failure.line, failure.lost) == (str(path), group * GROUP + 1, True)
    assert failure.reason.startswith("damaged Parquet: ")
    assert "\n" not in failure.reason
    assert reader.lost == failure.reason
    assert reader.sha256 == paths.sha256_file(path)


def test_only_the_range_with_the_damage_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(RAW)
    shards = planned(path, split_bytes=1)
    assert len(shards) == 5
    raw = bytearray(RAW)
    start = COLUMNS[3].data_page_offset
    raw[start : start + 500] = b"\xff" * 500
    path.write_bytes(raw)
    texts, lost = [], []
    for shard in shards:
        found, failures, reader = read(shard)
        texts += found
        lost.append(bool(reader.lost))
        assert [(f.line, f.lost) for f in failures] == [(3 * GROUP + 1, True)] * reader.lost.startswith(
            "damaged Parquet"
        )
    assert lost == [False, False, False, True, False]
    assert texts == TEXTS[: 3 * GROUP] + TEXTS[4 * GROUP :]


@pytest.mark.parametrize(
    "raw", [b"", b"PAR1", b'{"text": "a"}\n', RAW[:-4], RAW[: len(RAW) // 2], RAW[:-8] + b"\xff\xff\xff\xffPAR1"]
)
def test_a_footer_that_cannot_be_read_loses_all_and_does_not_stop_the_plan(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(raw)
    (shard,) = [Shard("s/f", "s", str(path), "parquet", bytes=len(raw), file_bytes=len(raw))]
    if not raw.startswith(b"{"):
        assert planned(path, split_bytes=1) == [shard]
    texts, (failure,), reader = read(shard)
    assert (texts, failure.line, failure.lost) == ([], None, True)
    assert reader.lost == failure.reason
    assert reader.sha256 == paths.sha256_file(path)


def test_a_name_of_a_column_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(RAW.replace(b"text\x15", b"te\xfft\x15").replace(b"\x04text", b"\x04te\xfft"))
    texts, failures, _ = read(Shard("s/f", "s", str(path), "parquet"))
    assert texts == []
    assert failures == [Failure(str(path), "damaged Parquet: the name of a column is not valid UTF-8", lost=True)]
    assert len(planned(path, split_bytes=1)) == 1


@settings(max_examples=150, deadline=None)
@given(
    compression=st.sampled_from(["snappy", "zstd", "none"]),
    at=st.floats(0, 1),
    length=st.integers(0, 40),
    fill=st.binary(min_size=1, max_size=3),
    cut=st.booleans(),
)
def test_no_damage_stops_a_run(
    tmp_path_factory: pytest.TempPathFactory, compression: str, at: float, length: int, fill: bytes, cut: bool
) -> None:
    raw = parquet(compression)
    start = int(at * len(raw))
    raw = raw[:start] + b"" if cut else raw[:start] + (fill * length)[:length] + raw[start + length :]
    path = tmp_path_factory.mktemp("damage") / "f.parquet"
    path.write_bytes(raw)
    shard = Shard("s/f", "s", str(path), "parquet")
    try:
        texts, failures, reader = read(shard)
    except DataError as error:  # a column's name that is another now
        assert str(error).startswith(f"{path}: no column 'text'. There are: ")  # noqa: PT017
        return
    assert bool(reader.lost) == any(failure.lost for failure in failures)
    assert reader.lost or len(texts) + len(failures) == NUM_ROWS
    assert read(shard)[:2] == (texts, failures)


class Broken(io.BytesIO):
    """A disk that fails behind the footer."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < 1_000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_what_the_system_says_stays_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard("s/f", "s", str(tmp_path / "gone.parquet"), "parquet")
    with pytest.raises(FileNotFoundError, match="gone"):
        read(shard)
    monkeypatch.setattr(documents, "open_copy", lambda path: Broken(RAW))
    with pytest.raises(OSError, match="Input/output error") as error:
        read(shard)
    assert error.value.errno == errno.EIO
    denied = OSError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(documents, "open_copy", lambda path: (_ for _ in ()).throw(denied))
    with pytest.raises(PermissionError):
        read(shard)


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(RAW)

    def out_of_memory(self: object, **options: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", out_of_memory)
    with pytest.raises(MemoryError, match="malloc"):
        read(Shard("s/f", "s", str(path), "parquet"))
