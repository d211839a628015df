"""Training and scoring a run whose folder is on an object store: what a local folder has, and after a kill as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import RunError
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.train import processes
from tests.dolma_pipeline.storage.fake_store import serving
from tests.pipeline.test_object_stores import hashes
from tests.pipeline.tiny import engine, files, recipe

pytest.importorskip("torch", reason="training needs torch")

MODEL: dict[str, Any] = {
    "train": {
        "model": "tiny",
        "sequence_length": 32,
        "batch_tokens": 128,
        "max_tokens": 1280,
        "warmup_steps": 2,
        "save_every_steps": 4,
        "processes": 1,
    },
    "eval": {"held_out": True},
}


def test_a_run_on_a_store_trains_what_one_on_a_disk_does(here: Path, tmp_path: Path) -> None:
    trained = {"train": MODEL["train"]}
    with serving() as server, engine(Here()):
        run(recipe(tmp_path / "run", **trained), quiet=True)
        run(recipe("s3://bucket/runs/model", storage={"endpoint": server.endpoint}, **trained), quiet=True)
        made = hashes(run_folder("s3://bucket/runs/model", {"endpoint": server.endpoint}))
        assert made == files(tmp_path / "run")
        assert "train/step-000010/commit.json" in made


@pytest.mark.slow
def test_a_model_on_a_store_goes_on_with_dialogues(here: Path, tmp_path: Path) -> None:
    (here / "chat.jsonl").write_text('{"prompt": "river", "response": "stone"}\n' * 8)
    chat = {"data": "chat.jsonl", "sequence_length": 64, "batch_tokens": 64, "processes": 1, "save_every_steps": 2}
    trained = {"train": MODEL["train"], "sft": {**chat, "epochs": 1}}
    with serving() as server, engine(Here()):
        run(recipe(tmp_path / "run", **trained), quiet=True)
        there = recipe("s3://bucket/runs/model", storage={"endpoint": server.endpoint}, **trained)
        run(recipe(there.output, storage={"endpoint": server.endpoint}, train=trained["train"]), quiet=True)
        run(there, quiet=True)  # the model is copied from the store
        made = hashes(run_folder("s3://bucket/runs/model", {"endpoint": server.endpoint}))
        whole, made = (
            {name: one for name, one in found.items() if not name.startswith("sft/log/")}  # times and speed
            for found in (files(tmp_path / "run"), made)
        )
        assert made == whole
        assert "sft/train/step-000002/commit.json" in made


@pytest.mark.slow
def test_a_model_that_is_scored_and_lost_and_made_again(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server, engine(Here()):
        run(recipe(tmp_path / "run", **MODEL), quiet=True)
        there = recipe("s3://bucket/runs/model", storage={"endpoint": server.endpoint}, **MODEL)
        with monkeypatch.context() as patch:

            def killed(*arguments: Any, **more: Any) -> None:
                """The launcher ends before anything is trained: the settings are there, nothing else."""
                raise RunError("killed")

            patch.setattr(processes, "supervise", killed)
            with pytest.raises(RunError, match="killed"):
                run(there, quiet=True)
        run(there, quiet=True)
        folder = run_folder("s3://bucket/runs/model", {"endpoint": server.endpoint})
        made = hashes(folder)
        assert made == files(tmp_path / "run")
        assert {name.split("/")[1] for name in made if name.startswith("train/step-")} == {
            "step-000000",
            "step-000004",
            "step-000008",
            "step-000010",
        }
        assert {"eval/step-000000.json", "eval/step-000010.json"} <= made.keys()
        # The newest checkpoint is lost: training goes on from the one before, with the same end.
        lost = [name for name in made if name.startswith("train/step-000010/")] + ["train/manifest.json"]
        folder.delete([*lost, *[name for name in made if name.startswith("eval/")]])
        run(there, quiet=True)
        assert hashes(folder) == made
