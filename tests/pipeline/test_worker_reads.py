"""What a worker holds does not grow with the number of shards: a task brings its own, and no list is read for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.run import layout, perform
from dolma_pipeline.run.process import Process
from dolma_pipeline.runner import run
from dolma_pipeline.storage.local import LocalFolder
from tests.pipeline.tiny import engine, recipe

ROOT = Path(__file__).parents[2]
OVER_ALL = {"dedupe/edges/exact", "dedupe/edges/minhash", "dedupe/verify", "tokens/parts"}
"""Phases of which a task draws on documents of all shards, and so asks where each is; the lists stream by."""


def test_tasks_read_no_list_of_shards(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[str] = []
    read = set[tuple[str, str]]()
    real = perform.work

    def work(run: Any, phase: Any, task: Any, **options: Any) -> Any:
        Process.leave()  # a worker that has done nothing before
        if phase.spread:
            at.append(phase.name)
        try:
            return real(run, phase, task, **options)
        finally:
            at.clear()

    monkeypatch.setattr(perform, "work", work)
    for verb in ("read", "stream", "random", "local"):
        found = getattr(LocalFolder, verb)

        def noted(folder: LocalFolder, name: str, found: Any = found, verb: str = verb) -> Any:
            if at and name.rpartition("/")[2] == layout.SHARDS:
                assert verb == "stream", (at, name)
                read.add((at[0], name))
            return found(folder, name)

        monkeypatch.setattr(LocalFolder, verb, noted)
    with engine(Here()):
        run(recipe(tmp_path / "run"), quiet=True)
    assert {phase for phase, _ in read} <= OVER_ALL, sorted(read)


def one_task(how: str, corpus: Path, *arguments: object) -> str:
    command = [sys.executable, ROOT / "tests/pipeline/one_task.py", how, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=corpus, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_task_of_a_hundred_thousand_shards_needs_no_more_memory_than_one_of_a_hundred(
    corpus: Path, tmp_path: Path
) -> None:
    peaks = {}
    for num_shards in (100, 100_000):
        (folder := tmp_path / str(num_shards)).mkdir()
        one_task("plan", corpus, folder, num_shards)
        peaks[num_shards] = float(one_task("work", corpus, folder))
    assert peaks[100_000] < 1.02 * peaks[100], peaks
