"""`export`: which run, which step, where to; the model itself is made in another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from dolma_pipeline.cli.app import dispatch
from dolma_pipeline.errors import RunError, UnknownNameError, UsageError
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.train.hugging_face import start


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder of a run with checkpoints of steps 0, 10 and 4; of step 20 not yet."""
    place = str(tmp_path / "run") if request.param == "disk" else f"memory://export-{tmp_path.name}"
    folder = run_folder(place)
    folder.write("shards.jsonl", b"")
    folder.write("tokenizer/tokenizer.json", b"{}")
    for step in (0, 10, 4, 20):
        folder.write(f"train/step-{step:06d}/model_and_optim/x", b"weights")
        if step != 20:
            folder.write(f"train/step-{step:06d}/commit.json", orjson.dumps({"step": step}))
    return place


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What `start.export` was called with, and which checkpoints it had on disk."""
    found: list[dict[str, Any]] = []

    def record(
        run_dir: Path, output: Path, *, folder: RunFolder, step: int, form: str, dtype: str, stage: str
    ) -> dict[str, Any]:
        saved = sorted(path.parent.name for path in run_dir.glob("train/step-*/model_and_optim"))
        found.append(
            {"run": folder.url, "output": output.name, "step": step, "form": form, "dtype": dtype, "stage": stage}
        )
        found[-1] |= {"saved": saved, "tokenizer": (run_dir / "tokenizer/tokenizer.json").read_bytes()}
        return {"architectures": ["OlmoForCausalLM"], "architecture": "decoder", "torch_dtype": "float32"}

    monkeypatch.setattr(start, "export", record)
    return found


def run(*words: str) -> str:
    return dispatch(["export", *words]).text


def test_the_last_step_or_the_one_asked_for(place: str, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    out = str(tmp_path / "model")
    assert run(place, "--output", out) == f"{out}: step 10 as OlmoForCausalLM, float32\n"
    assert run(place, f"--output={out}", "--step", "4", "--dtype", "bf16", "--format", "safetensors") == (
        f"{out}: step 4 as decoder, under our own names, float32\n"
    )
    assert [(call["step"], call["form"], call["dtype"]) for call in calls] == [
        (10, "hf", "fp32"),
        (4, "safetensors", "bf16"),
    ]
    assert {(call["run"], call["output"], call["tokenizer"]) for call in calls} == {(place, "model", b"{}")}
    if place.startswith("memory"):  # no more is copied than is needed
        assert [call["saved"] for call in calls] == [["step-000010"], ["step-000004"]]


def test_a_recipe_names_its_run(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    for name in ("a", "b"):
        run_folder(str(tmp_path / name)).write("tokenizer/tokenizer.json", name.encode())
        run_folder(str(tmp_path / name)).write("train/step-000003/commit.json", b"{}")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"output: {tmp_path}/a\nsources: {{web: {{documents: x}}}}\ntag: {{taggers: [length_v1]}}\n")
    run(str(recipe), "--output", str(tmp_path / "m"))
    run(str(recipe), f"output={tmp_path}/b", "--output", str(tmp_path / "m"))
    assert [call["tokenizer"] for call in calls] == [b"a", b"b"]


def test_the_model_of_a_stage(place: str, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder, out = run_folder(place), str(tmp_path / "model")
    folder.write("sft/train/config.json", b"{}")
    folder.write("sft/tokenizer/tokenizer.json", b"of sft")
    with pytest.raises(RunError, match=r"/sft/train: no saved model\. First: dolma-pipeline sft RECIPE"):
        run(f"{place}/sft", "--output", out)
    folder.write("sft/train/step-000006/commit.json", b"{}")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"output: {place}\nsources: {{web: {{documents: x}}}}\ntag: {{taggers: [length_v1]}}\n")
    for words in ([f"{place}/sft"], [place, "--stage", "sft"], [f"{place}/sft/", "--stage=sft"]):
        run(*words, "--output", out)
    if not place.startswith("memory"):  # where a recipe's `output` cannot be
        run(str(recipe), "--output", out, "--stage", "sft")
    assert {(call["run"], call["step"], call["stage"], call["tokenizer"]) for call in calls} == {
        (place, 6, "sft", b"of sft")
    }
    with pytest.raises(UsageError, match=r"/sft/train: no checkpoint of step 10\. There are: 6\."):
        run(f"{place}/sft", "--step", "10", "--output", out)
    with pytest.raises(RunError, match=r"/dpo/train: no saved model\. First: dolma-pipeline dpo RECIPE"):
        run(place, "--stage", "dpo", "--output", out)
    with pytest.raises(UsageError, match=r"found --stage dpo, but .*/sft is the folder of sft"):
        run(f"{place}/sft", "--stage", "dpo", "--output", out)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ((), UsageError, "'export' needs --output, the folder to write"),
        (("--output", "OUT"), UsageError, "'export' takes one run or recipe, found 0"),
        (("RUN", "RUN", "--output", "OUT"), UsageError, "'export' takes one run or recipe, found 2"),
        (("RUN", "--output", "OUT", "--step", "-3"), UsageError, "--step -3: a step is a number, 0 or more"),
        (("RUN", "--output", "OUT", "--step", "5"), UsageError, r"no checkpoint of step 5\. There are: 0, 4, 10\."),
        (("RUN", "--output", "OUT", "--step", "20"), UsageError, r"no checkpoint of step 20\. There are: 0, 4, 10\."),
        (("RUN", "--output", "OUT", "seed=2"), UsageError, "found seed=2; KEY=VALUE changes a recipe, and .* folder"),
        (("RUN", "--output", "OUT", "--format", "json"), UsageError, "--format takes hf or safetensors, found 'json'"),
        (("RUN", "--output", "OUT", "--dtype", "fp16"), UsageError, "--dtype takes fp32 or bf16, found 'fp16'"),
        (("nowhere", "--output", "OUT"), UsageError, "nowhere: no run's folder"),
        (("RUN", "--output", "OUT", "--forms", "hf"), UnknownNameError, "--format"),
    ],
)
def test_mistakes(
    place: str, tmp_path: Path, calls: list[dict[str, Any]], words: tuple[str, ...], error: type, message: str
) -> None:
    named = {"RUN": place, "OUT": str(tmp_path / "model")}
    with pytest.raises(error, match=message):
        run(*(named.get(word, word) for word in words))
    assert not calls


def test_a_run_that_is_not_trained(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    run_folder(str(tmp_path / "run")).write("shards.jsonl", b"")
    with pytest.raises(RunError, match=r"no saved model\. First: dolma-pipeline train RECIPE\."):
        run(str(tmp_path / "run"), "--output", str(tmp_path / "model"))
