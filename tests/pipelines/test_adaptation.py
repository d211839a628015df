"""The recipes of adaptation, on a model of toy size: all is checked, nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.runner import run
from dolma_pipeline.train.commit import Commit, write_commit
from dolma_pipeline.train.files import step_folder, write_config

PIPELINES = Path(__file__).parents[2] / "pipelines"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("sft", {"prompt": "a", "response": "b"}),
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": "c"}),
    ],
)
def test_what_the_recipes_would_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, row: object) -> None:
    monkeypatch.chdir(tmp_path)
    paths.write_bytes(tmp_path / "examples.jsonl", json.dumps(row).encode())
    write_config(tmp_path / "base", TrainConfig(), vocab_size=300, eos_id=0, dataset="sha256:0", seed=1)
    folder = step_folder(tmp_path / "base", 7)
    paths.write_bytes(folder / "model_and_optim/__0_0.distcp", pretty({}))
    write_commit(folder, Commit(step=7, tokens=7 * 4096, files={}))
    recipe = PIPELINES / {"sft": "amber-chat.yaml", "dpo": "amber-safe.yaml"}[name]
    found = run(str(recipe), f"{name}.init_from=base", f"{name}.data=examples.jsonl", dry_run=True)
    (planned,) = found.planned
    reads = planned.artifact.reads
    assert (planned.artifact.name, planned.state) == (name, "new")
    assert reads[f"{name}.init_from"]["step"] == 7
    assert reads[f"{name}.lr"] == {"sft": 2e-5, "dpo": 5e-7}[name]
