"""`train --config-only`: what torchrun by hand starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.tokens import TokenDataset
from dolma_pipeline.train import read_settings
from tests.pipeline import tiny
from tests.pipeline.tiny import copied, corpus, finished, here  # noqa: F401 fixtures

TRAIN = {"model": "tiny", "sequence_length": 16, "batch_tokens": 64, "max_tokens": 640}


@pytest.fixture
def recipe(copied: Path, tmp_path: Path) -> str:  # noqa: F811
    """A recipe's file with `train`, whose run has finished tokens."""
    path = tmp_path / "my.yaml"
    path.write_text(json.dumps(tiny.tree(train=TRAIN) | {"output": str(copied)}))
    return str(path)


def test_settings_and_order_are_written_and_nothing_starts(
    recipe: str,
    copied: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    assert main(["train", recipe, "--config-only", "train.shard_over=node"]) == 0
    assert f"-m dolma_pipeline.train {copied}\n" in capsys.readouterr().out
    assert sorted(path.name for path in (copied / "train").iterdir()) == ["config.json", "order.json"]
    settings = read_settings(copied)
    manifest = json.loads((copied / "tokens/manifest.json").read_text())
    assert (settings.dataset, settings.eos_id) == (manifest["dataset"], manifest["eos"])
    assert (settings.train.shard_over, settings.num_steps) == ("node", 10)
    order = json.loads((copied / "train/order.json").read_text())
    assert order["num_instances"] == len(TokenDataset(copied / "tokens/train", sequence_length=16))
    assert (order["batch_instances"], order["num_steps"]) == (4, 10)
    assert main(["train", recipe, "--config-only", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(copied)}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--redo"], "found --config-only and --redo; --config-only starts nothing and goes alone"),
        (["--", "--runner=X"], "found --config-only and Beam options; --config-only starts nothing"),
        (["train.batch_tokens=1600000"], "fewer than the 100000 of one batch"),
        (["seed=99"], "holds work that was made with other settings"),
        (["output=nowhere"], "nowhere: no run has begun there"),
        (["train=null"], "has no `train` to run"),
    ],
)
def test_what_it_refuses(
    recipe: str,
    copied: Path,  # noqa: F811
    typed: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", recipe, "--config-only", *typed]) == 2
    assert words in capsys.readouterr().err
    assert not (copied / "train/order.json").exists()


@pytest.mark.parametrize(
    ("manifest", "typed", "words"),
    [
        ("tokens", [], "left to do: tokens (not done). First: dolma-pipeline run RECIPE train=null."),
        ("tokens", ["seed=99"], "Put the settings back, or make it: dolma-pipeline run RECIPE train=null --redo."),
        ("index", ["eval={held_out: true}"], "First: dolma-pipeline run RECIPE train=null eval=null."),
    ],
)
def test_the_command_that_makes_what_is_missing_trains_nothing(
    recipe: str,
    copied: Path,  # noqa: F811
    manifest: str,
    typed: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (copied / manifest / "manifest.json").unlink()
    assert main(["train", recipe, "--config-only", *typed]) == 2
    assert words in capsys.readouterr().err


def test_other_settings_than_those_of_checkpoints(
    recipe: str,
    copied: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", recipe, "--config-only"]) == 0
    (copied / "train/step-000000").mkdir()
    (copied / "train/step-000000/commit.json").write_text("{}")
    assert main(["train", recipe, "--config-only", "train.micro_batch_tokens=16"]) == 0
    assert main(["train", recipe, "--config-only", "train.lr=0.5"]) == 2
    assert "train.lr: 0.003 -> 0.5" in capsys.readouterr().err
