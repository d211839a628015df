"""Two processes that hold a model together find what one finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dolma_pipeline
from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.evals import evaluate
from dolma_pipeline.evals.score import score, weights_digest
from dolma_pipeline.evals.sharded import lead, leading
from dolma_pipeline.evals.trees import Window
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.world import joined

TASK = '{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return", " on"], "gold": 0}\n'
ROOT = Path(dolma_pipeline.__file__).parents[1]


def spread(run: Path, step: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "dolma_pipeline.evals", str(run), str(step), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_the_stand_in_is_as_a_whole_model(run: Path, model: Decoder) -> None:
    """With no other process to follow: what is gathered, and what is said, is the same."""
    windows = [Window(np.arange(n), np.arange(n) + 1) for n in (4, 9)]
    assert leading() is None
    with joined() as world:
        spread = lead(run, 7, settings=read_settings(run), world=world)
        assert score(spread, windows) == score(model, windows)
        assert weights_digest(spread) == weights_digest(model)
        assert score(spread, windows) == score(model, windows)  # after they were gathered one by one
        halved = score(spread.to(torch.bfloat16), windows)
        assert halved == pytest.approx(score(model, windows), rel=0.02)
        assert halved != score(model, windows)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(run: Path) -> None:
    task = run.parent / "cats.jsonl"
    task.write_text(TASK)
    alone = evaluate(run, 7, EvalConfig(tasks=(str(task),)))
    shutil.rmtree(run / "eval")
    done = spread(run, 7, "--task", str(task))
    assert done.returncode == 0, done.stderr
    (path,) = (run / "eval").glob("*.json")
    assert json.loads(path.read_bytes()) == alone


@pytest.mark.slow
def test_an_error_of_the_first_ends_all(run: Path) -> None:
    done = spread(run, 3)
    assert done.returncode != 0
    assert "no checkpoint of step 3. There are: 7." in done.stderr
