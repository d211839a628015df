"""Files that were touched are hashed again, and only other content counts."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import versions
from dolma_pipeline.runner.inputs import Inputs, plan_inputs
from dolma_pipeline.runner.versions import check_versions, version_of, write_versions
from tests.dolma_pipeline.stages.small import artifacts_of, make, run_of, small_recipe
from tests.dolma_pipeline.stages.small import run_folder as open_folder

TAG = {"taggers": ["length_v1"]}
FILES = ["a.jsonl", "b.jsonl.gz", "c.parquet"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run over three formats, its index made and versions noted."""
    folder = tmp_path / "in/web"
    folder.mkdir(parents=True)
    line = b'{"id": "x", "text": "some text"}\n'
    (folder / "a.jsonl").write_bytes(line)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(line, mtime=0))
    pq.write_table(pa.table({"id": ["x"], "text": ["some text"]}), folder / "c.parquet")
    recipe = small_recipe(tmp_path, ["web"], tag=TAG, sources={"web": {"documents": f"{folder}/*"}})
    made = run_of(recipe, open_folder(f"memory://{tmp_path.name}-{id(tmp_path)}"))
    make(made)
    write_versions(made, inputs_of(made))
    return made


def inputs_of(run: Run) -> Inputs:
    return plan_inputs(run.recipe, run.folder, redo=True)


def check(run: Run, *, redo: bool = False) -> frozenset[str]:
    return check_versions(run, inputs_of(run), artifacts_of(run)["index"], redo=redo)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def changed(path: Path) -> None:
    """Other content of the same size."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": ["x"], "text": ["same text"]}), path)
    else:
        line = b'{"id": "x", "text": "same text"}\n'
        path.write_bytes(gzip.compress(line, mtime=0) if path.suffix == ".gz" else line)


def test_nothing_is_hashed_while_nothing_is_touched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "open_shard", lambda *_: pytest.fail("a file was read"))
    assert check(run) == frozenset()


@pytest.mark.parametrize("name", FILES)
def test_a_touched_file_of_the_same_content_is_the_same(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "in/web" / name
    before = version_of(str(path))
    touch(path)
    assert version_of(str(path)) != before
    assert check(run) == frozenset()


@pytest.mark.parametrize("name", FILES)
def test_other_content_stops_and_redo_names_what_is_stale(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "in/web" / name
    changed(path)
    with pytest.raises(
        DataError, match=rf"in/web/{name}: the file was changed \(its sha256 is another\) since this run"
    ):
        check(run)
    assert check(run, redo=True) == {f"web/{name.split('.')[0]}"}


def test_without_notes_all_are_hashed(run: Run, tmp_path: Path) -> None:
    """A corpus that was copied, a run whose log was removed."""
    run.folder.delete(["log/versions.jsonl"])
    assert check(run) == frozenset()
    changed(tmp_path / "in/web/a.jsonl")
    assert check(run, redo=True) == {"web/a"}


def test_what_is_not_local_has_no_version() -> None:
    assert version_of("https://host/a.jsonl") == ""
