"""One file, without a recipe."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.stages.tag_file import tag_file


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"id": "a", "text": "one two"}\n{"id": "b", "text": "three"}\n')
    return path


def test_one_name_is_one_tagger(page: Path, tmp_path: Path) -> None:
    counts = tag_file(str(page), taggers="length_v1", output=str(tmp_path / "out"))
    assert (counts["documents"], counts["bytes"], counts["failed"]) == (2, 12, [])
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["length_v1"]
    assert pq.read_metadata(tmp_path / "out/length_v1/pages.parquet").num_rows == 2


@pytest.mark.parametrize("output", ["pages.jsonl", "pages.jsonl/x"])
def test_an_output_that_is_a_file(page: Path, tmp_path: Path, output: str) -> None:
    with pytest.raises(UsageError) as caught:
        tag_file(str(page), taggers=["length_v1"], output=str(tmp_path / output))
    assert str(caught.value) == f"tag_file: output {tmp_path / output}: {page} is a file. Name a folder."


def test_no_tagger(page: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tag_file: name at least one tagger"):
        tag_file(str(page), taggers=[], output=str(tmp_path))
