from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.rows import read_rows

TEXT = '{"id": 7, "a": "x\u2028y"}\r\n\n{"task_id": "t"}\n{"b": 1}'


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_with_their_places(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(TEXT.encode()) if name.endswith("gz") else TEXT.encode())
    rows = read_rows(path, key="k")
    assert [row.place for row in rows] == [f"{path}:1", f"{path}:3", f"{path}:4"]
    assert [row.id for row in rows] == ["7", "t", "4"]
    assert rows[0].values["a"] == "x\u2028y"


def test_what_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not a JSON object"):
        read_rows(path, key="k")
    path.write_text('{"a": 1\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:1: not JSON"):
        read_rows(path, key="k")
    with pytest.raises(UsageError, match=r"^k: .*none\.jsonl: no such file"):
        read_rows(tmp_path / "none.jsonl", key="k")
