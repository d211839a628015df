"""Checkpoints are never lost: whoever trained, and whatever happened to records and manifests, training goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config import Recipe
from dolma_pipeline.errors import DataError, SettingsChangedError
from dolma_pipeline.runner import run
from dolma_pipeline.train import write_config
from tests.pipeline.tiny import recipe, write_documents

pytestmark = pytest.mark.usefixtures("plain")

TRAIN: dict[str, Any] = {
    "model": "tiny",
    "sequence_length": 16,
    "batch_tokens": 64,
    "max_tokens": 64 * 6,
    "warmup_steps": 1,
    "save_every_steps": 3,
    "processes": 1,
}


def small(tmp_path: Path, **train: Any) -> Recipe:
    return recipe(
        tmp_path / "run",
        sources={"web": {"documents": "in/*"}},
        modules=None,
        tag=None,
        dedupe=None,
        mix={},
        tokens={},
        tokenizer__vocab_size=300,
        tokenizer__added_tokens=None,
        train={**TRAIN, **train},
    )


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that is trained up to step 3 of 6 by torchrun: no record of this program tells of it."""
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "in/a.jsonl", ({"id": str(i), "text": f"the {i} river runs {i * i}"} for i in range(60)))
    run(small(tmp_path), stages=["mix", "tokens"], quiet=True)
    folder = tmp_path / "run"
    for step in (0, 3):
        (folder / f"train/step-{step:06d}").mkdir(parents=True)
        (folder / f"train/step-{step:06d}/commit.json").write_text("{}")
    return folder


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is there of each training at its start; nothing is trained."""
    found: list[list[str]] = []

    def launch(folder: Path, **_: object) -> None:
        found.append(sorted(p.parent.name for p in folder.glob("train/*/commit.json")))

    monkeypatch.setattr("dolma_pipeline.train.launch", launch)
    return found


def configure(tmp_path: Path, folder: Path, **train: Any) -> None:
    """Write the settings of `train` as `launch` does."""
    tokens = json.loads((folder / "tokens/manifest.json").read_bytes())
    config = small(tmp_path, **train).train
    assert config is not None
    given = {"vocab_size": tokens["vocab_size"], "eos_id": tokens["eos"], "dataset": tokens["dataset"], "seed": 3}
    hidden = folder / "train-hidden"
    write_config(hidden, config, **given)
    shutil.copy(hidden / "train/config.json", folder / "train/config.json")
    shutil.rmtree(hidden)


def test_checkpoints_that_fit_are_taken_up(tmp_path: Path, trained: Path, launched: list[list[str]]) -> None:
    configure(tmp_path, trained)
    run(small(tmp_path), stages=["train"], quiet=True)
    assert launched == [["step-000000", "step-000003"]]
    (trained / "train/manifest.json").unlink()  # nor are they lost with the manifest
    run(small(tmp_path), stages=["train"], redo=True, quiet=True)  # --redo makes again what does not fit, and this does
    assert launched == [["step-000000", "step-000003"]] * 2


def test_checkpoints_that_do_not_fit_stay_until_redo(tmp_path: Path, trained: Path, launched: list[list[str]]) -> None:
    configure(tmp_path, trained, lr=0.5)
    with pytest.raises(SettingsChangedError, match=r"(?s)train.lr: 0.5 -> 0.003.*this makes again: train.*--redo"):
        run(small(tmp_path), stages=["train"], quiet=True)
    (trained / "train/config.json").unlink()
    with pytest.raises(SettingsChangedError, match=r"train/config.json: it is gone, so nobody knows"):
        run(small(tmp_path), stages=["train"], quiet=True)
    assert (trained / "train/step-000003/commit.json").exists()
    run(small(tmp_path), stages=["train"], redo=True, quiet=True)
    assert launched == [[]]


def test_checkpoints_outlive_their_tokens(tmp_path: Path, trained: Path, launched: list[list[str]]) -> None:
    """Token parts that are lost are made again, alike, and training goes on; others would not be trained on further."""
    configure(tmp_path, trained)
    shutil.rmtree(trained / "tokens")
    with pytest.raises(SettingsChangedError, match=r"train: it was made of other tokens"):
        run(other_mix(small(tmp_path)), quiet=True)
    assert (trained / "train/step-000003/commit.json").exists()
    run(small(tmp_path), quiet=True)
    assert launched == [["step-000000", "step-000003"]]


def other_mix(base: Recipe) -> Recipe:
    assert base.mix is not None
    return dataclasses.replace(base, mix=dataclasses.replace(base.mix, target_documents=30))


def test_lines_by_hand_are_among_what_training_reads(tmp_path: Path, trained: Path, launched: list[list[str]]) -> None:
    configure(tmp_path, trained)
    run(small(tmp_path), stages=["train"], quiet=True)
    own = '{"by":"train","instance":1,"reason":"loss is nan","step":3}\n'
    (trained / "quarantine.jsonl").write_text(own)
    assert run(small(tmp_path), stages=["train"], quiet=True).nothing_to_do  # the trainer's own say nothing new
    (trained / "quarantine.jsonl").write_text(own + '{"instance": 2, "reason": "a page of dashes"}\n')
    with pytest.raises(SettingsChangedError, match=r"quarantine.jsonl: is new"):
        run(small(tmp_path), stages=["train"], quiet=True)
    run(small(tmp_path), stages=["train"], redo=True, quiet=True)
    assert launched[-1] == []
    assert "dashes" in (trained / "quarantine.jsonl").read_text()
    (trained / "quarantine.jsonl").write_text(own + "instance 2\n")
    with pytest.raises(DataError, match=r"quarantine.jsonl:2: not an object"):
        run(small(tmp_path), stages=["train"], quiet=True)
