"""`sft --config-only` and `dpo --config-only`: what processes started by hand begin with, and go on from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from dolma_pipeline.cli import main
from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import SettingsChangedError
from dolma_pipeline.evals.online import scorer
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.tokens.train_bpe import train_bpe
from dolma_pipeline.train.checkpoint import load_model
from dolma_pipeline.train.files import Settings, committed_steps, read_settings
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.train import fit, train
from dolma_pipeline.train.world import joined
from tests.dolma_pipeline.stages.small import artifacts_of, recipe_from_text, run_of
from tests.dolma_pipeline.train.test_adapt import TEXTS, WORDS
from tests.dolma_pipeline.train.test_train import contents

SFT = {"sequence_length": 32, "batch_tokens": 128, "epochs": 3, "lr": 0.01, "save_every_steps": 2, "processes": 1}
DPO = {"sequence_length": 16, "batch_tokens": 64, "epochs": 3, "lr": 0.003, "save_every_steps": 3, "processes": 1}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """On busy cores a second one mostly waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model of 300 ids, one step long, with its tokenizer; dialogues and pairs beside it."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_bpe(TEXTS, vocab_size=300, special_tokens=("<|endoftext|>",))
    paths.write_bytes(folder / "base/tokenizer/tokenizer.json", tokenizer.encode())
    shape = ModelConfig(vocab_size=300, sequence_length=32, width=32, num_layers=2, num_heads=2, hidden=64, tied=False)
    config = TrainConfig(sequence_length=32, batch_tokens=256, max_tokens=256, warmup_steps=0)
    settings = Settings(train=config, model=shape, eos_id=0, dataset="sha256:toy", seed=5)
    paths.write_bytes(folder / "base/train/config.json", pretty(settings.as_dict()))
    with joined() as world:
        fit(folder / "base", settings=settings, dataset=np.full((8, 32), 7, np.uint16), world=world)
    others = [*WORDS.values()]
    rows = {
        "chat": [{"prompt": word, "response": other} for word, other in WORDS.items()] * 3,
        "pairs": [{"prompt": w, "chosen": o, "rejected": others[i - 1]} for i, (w, o) in enumerate(WORDS.items())],
    }
    for name, found in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in found))
    return folder


@pytest.fixture
def recipe(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe with both stages; its run is `run`, beside it."""
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    start = {"init_from": "base"}
    tree = {
        "output": "run",
        "sft": {"data": "chat.jsonl", **start, **SFT},
        "dpo": {"data": "pairs.jsonl", **start, **DPO},
    }
    Path("my.yaml").write_text(json.dumps(tree))
    return "my.yaml"


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "train/metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_processes_started_by_hand_begin_and_go_on(
    recipe: str, stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    assert main([stage, recipe, "--config-only"]) == 0
    folder = Path("run", stage).resolve()
    assert f"-m dolma_pipeline.train {folder}\n" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "train").iterdir()) == ["config.json", "order.json"]
    shutil.copytree(folder, "whole")
    train(Path("whole"))
    written = Log.step

    def breaking(self: Log, step: int, **numbers: Any) -> None:
        written(self, step, **numbers)
        if step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Log, "step", breaking)
        train(folder)
    assert committed_steps(folder)[-1] in (3, 4)
    assert main([stage, recipe, "--config-only", f"{stage}.allow_older_checkpoint=true", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(folder)}
    train(folder)
    ours, theirs = contents(folder / "train"), contents(Path("whole/train"))
    assert {name for name in ours if ours[name] != theirs[name]} <= {"config.json"}
    assert ours.keys() == theirs.keys()
    assert [row["step"] for row in metrics(folder)] == [*range(1, read_settings(folder).num_steps + 1)]
    for words in (["seed=99"], [f"{stage}.lr=0.5"]):
        assert main([stage, recipe, "--config-only", *words]) == 2
        assert "the checkpoints there were made with other settings: " in capsys.readouterr().err


def test_what_checkpoints_are_scored_on_is_written_too(recipe: str) -> None:
    Path("cats.jsonl").write_text('{"context": "red", "choices": [" apple", " coal"], "gold": 0}\n')
    scored = "eval={stages: [sft], held_out: false, tasks: [cats.jsonl]}"
    assert main(["sft", recipe, "--config-only", "sft.eval_every_steps=2", "sft.epochs=1", scored]) == 0
    train(Path("run/sft"), scorer=scorer)
    assert sorted(path.stem for path in Path("run/sft/eval").glob("*.json")) == ["step-000000", "step-000002"]
    results = json.loads(Path("run/sft/eval/step-000002.json").read_text())
    assert results["tasks"]["cats"]["num_items"] == 1


@pytest.mark.slow  # torchrun takes its time
def test_dpo_by_two_processes_is_that_of_one(recipe: str) -> None:
    """Equal but for the rounding of sums of float32: losses to 1e-6, weights to 1e-5."""
    assert main(["dpo", recipe, "--config-only"]) == 0
    one, two = Path("run/dpo"), Path("two")
    shutil.copytree(one, two)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": root}
    command += ["-m", "dolma_pipeline.train", str(two)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    train(one)
    assert (two / "train/reference.npy").read_bytes() == (one / "train/reference.npy").read_bytes()
    ours, theirs = metrics(two), metrics(one)
    assert len(ours) == len(theirs) == 9
    for mine, other in zip(ours, theirs, strict=True):
        for key in ("loss", "grad_norm", "reward_margin", "reward_chosen", "reward_rejected", "kl", "accuracy"):
            assert mine[key] == pytest.approx(other[key], rel=1e-5, abs=1e-6), (mine["step"], key)
    assert max(abs(row["reward_margin"]) for row in theirs) > 0.05  # it has learned something
    settings = read_settings(one)
    weights = []
    for folder in (one, two):
        weights.append(model := Decoder(settings.model))
        load_model(folder, 9, model=model)
    for left, right in zip(weights[0].parameters(), weights[1].parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_what_an_unfinished_stage_was_begun_with(recipe: str) -> None:
    """`AdaptStage.begun`: nothing, what fits, and what differs in settings, start or data."""
    assert main(["sft", recipe, "--config-only"]) == 0
    text, stage, folder = Path(recipe).read_text(), STAGES["sft"], run_folder(str(Path("run").absolute()))

    def begun(*overrides: str, needs_done: bool = True) -> Any:
        made = run_of(recipe_from_text(text, "dpo=null", *overrides), folder)
        return stage.begun(Process.of(made), artifacts_of(made)["sft"], needs_done=needs_done)

    assert begun() is None  # settings, and no checkpoint
    train(Path("run/sft"))
    assert begun() == begun(needs_done=False) == begun("sft.micro_batch_tokens=32") == []
    assert begun("sft.lr=0.5", needs_done=False) == []
    assert begun("sft.lr=0.5") == ["sft.lr: 0.01 -> 0.5"]
    assert begun("sft.batch_tokens=64")[0] == "sft.batch_tokens: 128 -> 64"
    assert begun("seed=9") == ["seed: 1 -> 9"]
    other = begun("sft.init_from=run/sft")
    assert [line.partition(":")[0] for line in other] == ["init.step", "init.weights"]
    kept = Path("chat.jsonl").read_text()
    Path("chat.jsonl").write_text(kept + kept)
    assert begun() == ["sft.data: its files have another content, or order"]
    Path("chat.jsonl").write_text(kept)
    with pytest.raises(SettingsChangedError, match=r"sft\.lr: 0\.01 -> 0\.5"):
        run(recipe, "sft.lr=0.5", "dpo=null", dry_run=True)
    (planned,) = run(recipe, "dpo=null", dry_run=True).planned
    assert (planned.artifact.name, planned.state) == ("sft", "resume")
    for lost in ("data/examples.json", "train/config.json"):
        (Path("run/sft") / lost).rename(Path("lost"))
        assert begun() == [f"sft/{lost}: it is gone, so nobody knows what the checkpoints were made with"]
        Path("lost").rename(Path("run/sft") / lost)
    shutil.rmtree("base")  # once it has begun, it needs no model to start from
    assert begun() == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--redo"], "found --config-only and --redo; --config-only starts nothing and goes alone"),
        (["sft.init_from=nowhere"], "sft.init_from: nowhere: no such folder"),
        (["sft.data=none.jsonl"], "none.jsonl"),
        (
            ["sft.init_from=s3://bucket/run@3"],
            "is read from this machine's disk. Copy its folder here (of a run: train/",
        ),
        (
            ["sft.eval_every_steps=2", "eval={stages: [sft], held_out: false, tasks: ['s3://b/cats.jsonl']}"],
            "s3://b/cats.jsonl: --config-only leaves no copy of a URL for training to score on",
        ),
        (["sft.batch_tokens=3200"], "a batch is 100 sequences of dialogues, but there are"),
        (["sft=null"], "has no `sft` to run"),
    ],
)
def test_what_it_refuses(recipe: str, typed: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", recipe, "--config-only", *typed]) == 2
    assert words in capsys.readouterr().err
    assert not Path("run/sft/train").exists()
