"""Rows from the middle of attribute lines, plain and compressed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import attribute_cut
from dolma_pipeline.io.attribute_cut import MOST_CUTS, Cut, Cuts
from dolma_pipeline.io.attribute_lines import lines_parts, lines_schema
from dolma_pipeline.io.streams import ZSTD_MAGIC

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "a.jsonl": bytes,
    "a.jsonl.gz": gzip.compress,
    "a.jsonl.zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def row(number: int) -> bytes:
    return orjson.dumps({"id": f"i{number}", "attributes": {"e__n": [[0, number, 1.0]]}})


def read(path: Path, cut: Cut, rows: range) -> list[tuple[str, int, int]]:
    """Id, number and line of each row."""
    parts = list(lines_parts(path, lines_schema(path), cut.blocks(rows.start), rows))
    return [
        (id_, one["e"]["n"][0]["end"], line)
        for part in parts
        for id_, one, line in zip(part.ids.to_pylist(), part.table.to_pylist(), part.lines.tolist(), strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FORMS)), st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 60), st.booleans()
)
def test_rows_from_any_row_on(
    tmp_path_factory: pytest.TempPathFactory, name: str, are_rows: list[bool], at: int, ends: bool
) -> None:
    """Some lines are blank; pieces are small, so that a cut lies nearly everywhere."""
    path = tmp_path_factory.mktemp("cut") / name
    lines: list[bytes] = []
    expected: list[tuple[str, int, int]] = []
    for is_row in [True, *are_rows]:
        if is_row:
            expected.append((f"i{len(expected)}", len(expected), len(lines) + 1))
        lines.append(row(len(expected) - 1) if is_row else b" \t")
    path.write_bytes(FORMS[name](b"\n".join(lines) + (b"\n" if ends else b"")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribute_cut, "PIECE_BYTES", 90)
        cut = Cut(path)
    assert cut.num_rows == len(expected)
    first = min(at, len(expected))
    for stop in (first, (first + len(expected)) // 2, len(expected)):
        assert read(path, cut, range(first, stop)) == expected[first:stop]


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"")
    assert Cut(path).num_rows == 0
    assert read(path, Cut(path), range(0)) == []


def test_an_owner_cuts_a_file_once_and_keeps_a_few(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.jsonl.gz" for n in range(MOST_CUTS + 1)]
    for number, path in enumerate(paths):
        path.write_bytes(gzip.compress((row(0) + b"\n") * (number + 1)))
    cuts = Cuts()
    first, second = cuts.of(paths[0]), cuts.of(paths[1])
    assert [cuts.of(path).num_rows for path in paths[:-1]] == list(range(1, MOST_CUTS + 1))
    assert cuts.of(paths[0]) is first
    cuts.of(paths[-1])  # one too many: the second was asked for longest ago
    assert cuts.of(paths[0]) is first
    assert cuts.of(paths[1]) is not second


def test_another_owner_sees_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(row(0) + b"\n"))
    first = Cuts().of(path)
    path.write_bytes(gzip.compress(row(0) + b"\n" + row(1) + b"\n"))
    assert (first.num_rows, Cuts().of(path).num_rows) == (1, 2)


def test_compressed_pieces_leave_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(attribute_cut.tempfile, "tempdir", str(scratch))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(row(n) + b"\n" for n in range(100))))
    cut = Cut(path)
    assert list(scratch.iterdir()) == []
    descriptor = cut._descriptor
    assert os.pread(descriptor, 4, 0) == ZSTD_MAGIC
    assert len(read(path, cut, range(40, 60))) == 20
    del cut
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(descriptor, 4, 0)


def test_a_plain_file_that_shrinks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(row(0) + b"\n")
    cut = Cut(path)
    os.truncate(path, 5)
    with pytest.raises(DataError, match=rf"^{path}: became shorter while it was read\.$"):
        list(cut.blocks(0).blocks)
