"""Scores while training are those of `eval` afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals import evaluate
from dolma_pipeline.evals.online import scorer, write_online
from dolma_pipeline.evals.run import Options
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import committed_steps, read_settings
from dolma_pipeline.train.train import train

ROOT = Path(__file__).parents[3]
TASK = '{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n'


@pytest.fixture
def begun(run: Path) -> Path:
    """A run of 6 steps, scored every 4, that has not been trained."""
    settings = read_settings(run)
    length = settings.train.sequence_length
    steps = {"max_tokens": 6 * 4 * length, "batch_tokens": 4 * length, "save_every_steps": 100, "eval_every_steps": 4}
    config = dataclasses.replace(settings, train=dataclasses.replace(settings.train, **steps))
    shutil.rmtree(run / "train")
    paths.write_bytes(run / "tokens/manifest.json", pretty({"dtype": "uint16", "dataset": config.dataset}))
    ids = np.random.default_rng(0).integers(1, 50, 40 * length).astype("<u2")
    paths.write_bytes(run / "tokens/train/part-00000.npy", ids.tobytes())
    paths.write_bytes(run / "train/config.json", pretty(config.as_dict()))
    (run.parent / "cats.jsonl").write_text(TASK)
    write_online(run, EvalConfig(tasks=(str(run.parent / "cats.jsonl"),)))
    return run


def results(run: Path) -> dict[int, object]:
    return {int(path.stem.split("-")[1]): json.loads(path.read_bytes()) for path in (run / "eval").glob("*.json")}


def test_scores_are_those_of_eval_afterwards(begun: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(begun, scorer=scorer)
    assert committed_steps(begun) == [0, 4, 6]
    found = results(begun)
    assert sorted(found) == [0, 4]
    assert "eval: step 4, cats: " in capfd.readouterr().err
    shutil.rmtree(begun / "eval")
    config = EvalConfig(tasks=(str(begun.parent / "cats.jsonl"),))
    assert found == {step: evaluate(begun, step, config) for step in (0, 4)}


def test_a_stage_inside_a_run_is_scored_on_the_runs_documents(begun: Path) -> None:
    """Here the stage's own training is that of the run, moved: what differs is where the documents are."""
    stage = begun / "sft"
    for name in ("train", "tokenizer"):
        shutil.copytree(begun / name, stage / name)
    for name in ("manifest.json", "train"):
        copy = shutil.copytree if (begun / "tokens" / name).is_dir() else shutil.copy
        (stage / "tokens").mkdir(exist_ok=True)
        copy(begun / "tokens" / name, stage / "tokens" / name)
    config = EvalConfig(tasks=(str(begun.parent / "cats.jsonl"),))
    write_online(stage, config)
    with pytest.raises(UsageError, match=r"eval\.held_out is true, but .*sft/tokens/held_out has no documents"):
        train(stage, scorer=scorer)
    write_online(stage, config, inside=True)
    train(stage, scorer=scorer)
    found = results(stage)
    assert sorted(found) == [0, 4]
    assert {*found[4]["held_out"]} == {"web", "code"}  # type: ignore[index]
    shutil.rmtree(stage / "eval")
    assert found == {step: evaluate(stage, step, config, Options(held_out=begun)) for step in (0, 4)}
    assert not (begun / "eval").exists()


def test_scores_that_a_kill_left_out_are_made_up_for(begun: Path) -> None:
    train(begun, scorer=scorer)
    found = results(begun)
    shutil.rmtree(begun / "train/step-000006")
    (begun / "eval/step-000004.json").unlink()
    train(begun, scorer=scorer)
    assert results(begun) == found


def test_training_without_scores_leaves_none(begun: Path) -> None:
    train(begun)
    assert not (begun / "eval").exists()


def test_what_is_wrong_is_said_before_training(begun: Path) -> None:
    path = begun / "train/eval.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cats", b"dogs"))
    with pytest.raises(UsageError, match=r"dogs\.jsonl"):
        train(begun, scorer=scorer)
    path.write_bytes(content[:-5])
    with pytest.raises(DataError, match=r"train/eval\.json: damaged"):
        train(begun, scorer=scorer)
    path.unlink()
    with pytest.raises(DataError, match=r"train/eval\.json: no such file; eval_every_steps needs it"):
        train(begun, scorer=scorer)
    assert committed_steps(begun) == []


@pytest.mark.slow
def test_two_processes_score_together(begun: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "dolma_pipeline.train", str(begun)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert committed_steps(begun) == [0, 4, 6]
    found = results(begun)
    shutil.rmtree(begun / "eval")
    config = EvalConfig(tasks=(str(begun.parent / "cats.jsonl"),))
    assert found == {step: evaluate(begun, step, config) for step in (0, 4)}
