"""Bounds of what may fail: documents by their exact share, lost files by number; both are told with reasons."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dolma_pipeline.errors import TooManyFailuresError
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.failures import check_failures, lost_files
from dolma_pipeline.runner.result import Result, read_result
from tests.dolma_pipeline.stages.small import artifacts_of, make, run_of, small_recipe, small_run

TAG = {"taggers": ["length_v1"]}


def result_of(run: Run) -> Result:
    return read_result(run, [*artifacts_of(run)])


def with_bad_lines(tmp_path: Path, good: int, bad: int) -> Run:
    run = small_run(tmp_path, {"web/a": [f"text {i}" for i in range(good)]}, tag=TAG)
    with open(tmp_path / "in/web/a.jsonl", "a") as file:
        file.write("{bad\n" * bad)
    run.folder.delete(["shards.jsonl"])
    run = run_of(run.recipe, run.folder)
    make(run)
    return run


@pytest.mark.parametrize(
    ("good", "bad", "share", "allowed"),
    [(99, 1, 0.01, True), (98, 2, 0.01, False), (9, 1, 0.1, True), (9, 1, 0.0999, False), (5, 0, 0.0, True),
     (5, 1, 0.0, False), (1, 2, 1.0, True), (3, 3, 0.5, True)],
)  # fmt: skip
def test_shares_are_exact(tmp_path: Path, good: int, bad: int, share: float, allowed: bool) -> None:
    run = with_bad_lines(tmp_path, good, bad)
    run = replace(run, recipe=replace(run.recipe, max_failed_share=share))
    Process.leave()
    if allowed:
        check_failures(run, result_of(run))
        return
    with pytest.raises(TooManyFailuresError) as caught:
        check_failures(run, result_of(run))
    said = str(caught.value)
    assert said.startswith(f"{bad} of {good + bad} documents failed in ")
    assert f"more than max_failed_share {share} allows; everything else is written." in said
    assert "/failed/index/ has file, line and reason of each; most often: " in said
    assert f"({bad})" in said
    assert isinstance(caught.value.result, Result)


def test_lost_files_are_counted_as_files(tmp_path: Path) -> None:
    line = json.dumps({"id": "x", "text": "some text " * 50}).encode() + b"\n"
    (tmp_path / "in/web").mkdir(parents=True)
    for name in ("a", "b"):
        data = gzip.compress(line * 50, mtime=0)
        (tmp_path / f"in/web/{name}.jsonl.gz").write_bytes(data[:-9])
    (tmp_path / "in/web/c.jsonl").write_bytes(line)
    run = run_of(
        small_recipe(tmp_path, ["web"], tag=TAG, sources={"web": {"documents": f"{tmp_path}/in/web/*"}},
                     max_failed_share=1.0),
        small_run(tmp_path, {"web/c": ["x"]}, tag=TAG).folder,
    )  # fmt: skip
    make(run)
    lost = lost_files(run)
    assert [(one.shard, one.path) for one in lost] == [("web/a", "a.jsonl.gz"), ("web/b", "b.jsonl.gz")]
    assert all(one.reason for one in lost)
    with pytest.raises(TooManyFailuresError) as caught:
        check_failures(run, result_of(run))
    said = str(caught.value)
    assert said.startswith("2 files could not be read to the end, more than max_failed_files 0 allows: web/a (a.js")
    assert "; web/b (b.jsonl.gz): " in said
    for most, fails in ((1, True), (2, False)):
        allowed = replace(run, recipe=replace(run.recipe, max_failed_files=most))
        Process.leave()
        if fails:
            with pytest.raises(TooManyFailuresError, match="max_failed_files 1"):
                check_failures(allowed, result_of(allowed))
        else:
            check_failures(allowed, result_of(allowed))
    assert "files that could not be read to their end" in result_of(run).text()


def test_a_text_under_another_key_is_told_with_what_to_do(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": ["text"] * 3}, tag=TAG)
    (tmp_path / "in/web/a.jsonl").write_text('{"id": "x", "content": "text"}\n' * 3)
    run.folder.delete(["shards.jsonl"])
    run = run_of(run.recipe, run.folder)
    make(run)
    with pytest.raises(TooManyFailuresError, match=r"another key, name it in the recipe: sources\.NAME\.fields: "):
        check_failures(run, result_of(run))
    with_bad = with_bad_lines(tmp_path / "other", 1, 3)
    with pytest.raises(TooManyFailuresError) as caught:
        check_failures(with_bad, result_of(with_bad))
    assert "another key" not in str(caught.value)


def test_a_source_without_documents_is_warned_of(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": ["text"], "web/b": [], "none/a": [], "none/b": []}, tag=TAG)
    make(run)
    assert result_of(run).warnings() == ["source 'none' has no documents: there is nothing in its files"]
