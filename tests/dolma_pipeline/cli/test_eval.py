"""`eval` with options, and of folders: from what is typed to what is printed and written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="evaluation needs torch")

from dolma_pipeline import evals
from dolma_pipeline.cli import main
from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.evals.run import Evaluation, Options
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.runner import score
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.evals.conftest import model, run, tokenizer  # noqa: F401 fixtures

ITEM = '{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n'
RECIPE: dict[str, Any] = {
    "sources": {"web": {"documents": "docs/*.jsonl"}},
    "tokenizer": {"load": "tokenizer.json", "special_tokens": ["<|endoftext|>"]},
    "mix": {"held_out": {"share": 0.1}},
    "tokens": {"eos": "<|endoftext|>"},
    "train": {},
    "eval": {"held_out": True},
}


@pytest.fixture
def place(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """The folder of a run with checkpoints of steps 7, 9 and 20, and a task; scoring stays in this process."""
    for step in (9, 20):
        folder = run / f"train/step-{step:06d}"
        shutil.copytree(run / "train/step-000007", folder)
        (folder / "commit.json").write_bytes(pretty({"format": 1, "step": step, "tokens": step * 96}))
    (run.parent / "cats.jsonl").write_text(ITEM * 3)

    def here(run_dir: Path, *, steps: Sequence[int], config: EvalConfig, options: Options) -> dict[int, Any]:
        evaluation = Evaluation(run_dir, config, options)
        return {step: evaluation.score(step) for step in steps}

    monkeypatch.setattr(evals, "launch", here)
    monkeypatch.chdir(run.parent)
    return run


@pytest.fixture
def recipe(place: Path) -> str:
    (place.parent / "my.yaml").write_text(json.dumps({"output": str(place), **RECIPE}))
    return str(place.parent / "my.yaml")


@pytest.fixture
def adapted(place: Path) -> Path:
    """The same run with the model of a stage `sft`, of steps 7 and 20, and some of its own tokens to be held out."""
    shutil.copytree(place / "train", place / "sft/train")
    shutil.copytree(place / "tokenizer", place / "sft/tokenizer")
    shutil.rmtree(place / "sft/train/step-000009")
    (place / "shards.jsonl").write_bytes(b"")
    return place


def single(text: str) -> str:
    """With one blank where there are several."""
    return re.sub(" +", " ", text)


def steps(place: Path, folder: str = "eval") -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (place / folder).glob("step-*.json"))


def test_a_folder_is_scored_before_and_after_training(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not (place / "train/manifest.json").exists()  # trained by hand
    assert main(["eval", str(place)]) == 0
    assert steps(place) == [7, 20]
    out = single(capsys.readouterr().out)
    assert out.startswith("bits per byte, held out\nsource step 7 step 20 documents bytes\n")
    assert "tasks" not in out


def test_steps_and_tasks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(place), "--step", "9", "--step", "7", "--task", "cats.jsonl", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    assert {step: [*results["tasks"]] for step, results in found.items()} == {"7": ["cats"], "9": ["cats"]}
    assert found["7"]["held_out"] == {}
    assert main(["eval", str(place), "--all"]) == 0
    assert steps(place) == [7, 9, 20]
    table = single(capsys.readouterr().out)
    assert "tasks\ntask metric step 7 step 9 step 20 chance items bits per byte of the answer\n" in table
    assert " ± " in table


def test_documents_are_named_by_domain(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (place.parent / f"{name}.jsonl").write_text('{"text": "The cat sat."}\n')
    typed = ["--documents", "notes=a.jsonl", "--documents=notes=b.jsonl", "--documents", "code=a.jsonl"]
    assert main(["eval", str(place), "--step", "9", *typed, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]["9"]
    assert {name: one["num_documents"] for name, one in found["documents"].items()} == {"code": 1, "notes": 2}
    assert (found["tasks"], found["held_out"]) == ({}, {})
    for wrong in ("a.jsonl", "notes=", "=a.jsonl"):
        assert main(["eval", str(place), "--documents", wrong]) == 2
        assert "--documents takes DOMAIN=FILE" in capsys.readouterr().err
    assert main(["eval", str(place), "--documents", "notes=none.jsonl"]) == 2
    assert "eval.documents.notes: none.jsonl: no such file." in capsys.readouterr().err


def test_a_limit_and_bf16_are_kept_apart(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["eval", str(place), "--step", "7", "--limit", "2", "--precision", "bf16", "--task", "cats.jsonl"]
    assert main([*typed, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["7"]["tasks"]["cats"]["num_items"] == 2
    assert (steps(place), steps(place, "eval/bf16-limit-2")) == ([], [7])


def test_a_checkpoint_by_its_path(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(place), "--checkpoint", str(place / "train/step-000009")]) == 0
    assert steps(place) == [9]
    shutil.copytree(place / "train", tmp_path / "other/train")  # a copy of checkpoints without their data
    capsys.readouterr()
    other = tmp_path / "other/train/step-000007"
    assert main(["eval", str(place), "--checkpoint", str(other), "--format", "json"]) == 0
    weights = json.loads(capsys.readouterr().out)["scores"]["7"]["digests"]["weights"]
    assert (steps(place), steps(place, f"eval/{weights.removeprefix('sha256:')[:12]}")) == ([9], [7])
    assert not (tmp_path / "other/eval").exists()


def test_a_recipe_says_what_is_scored(recipe: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place.parent / "notes.jsonl").write_text('{"text": "The cat."}\n')
    assert main(["eval", recipe, "--step", "9", "eval.documents.notes=notes.jsonl", "eval.tasks=[cats.jsonl]"]) == 0
    assert "bits per byte by domain\ndomain step 9 documents bytes\n" in single(capsys.readouterr().out)
    found = json.loads((place / "eval/step-000009.json").read_bytes())
    assert [[*found[section]] for section in ("held_out", "documents", "tasks")] == [
        ["code", "web"], ["notes"], ["cats"],
    ]  # fmt: skip


def test_the_recipe_of_a_folder_is_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {"output": "moved/since", **RECIPE, "eval": {"held_out": False, "tasks": ["cats.jsonl"]}}
    (place / "recipe.yaml").write_text(json.dumps(tree))
    assert main(["eval", str(place), "--step", "9", "--format", "json"]) == 0
    assert [*json.loads(capsys.readouterr().out)["scores"]["9"]["tasks"]] == ["cats"]
    assert main(["eval", str(place), "--step", "9", "eval.tasks=[]", "eval.held_out=true"]) == 0


def test_a_run_that_was_trained_by_hand_needs_no_record_of_it(recipe: str, place: Path) -> None:
    assert main(["eval", recipe]) == 0
    assert steps(place) == [7, 20]
    assert not (place / "eval/manifest.json").exists()


def test_a_training_that_the_stage_has_begun_is_not_taken_for_one_by_hand(recipe: str, place: Path) -> None:
    opened = score._recipe(recipe, [])
    assert opened is not None
    assert score.trained_elsewhere(opened)
    begun = place / ".done/train-0123456789ab/covers.json"
    begun.parent.mkdir(parents=True)
    begun.write_text("{}")
    assert not score.trained_elsewhere(opened)
    shutil.rmtree(place / ".done")
    (place / "train/manifest.json").write_text("{}")
    assert not score.trained_elsewhere(opened)


@pytest.mark.parametrize("named", ["by its folder", "by the stage", "by a recipe"])
def test_the_model_of_a_stage_has_results_of_its_own(
    recipe: str, adapted: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = {"by its folder": [f"{adapted}/sft"], "by the stage": [str(adapted), "--stage", "sft"]}
    assert main(["eval", *typed.get(named, [recipe, "--stage=sft"]), "--all", "--task", "cats.jsonl"]) == 0
    assert (steps(adapted), steps(adapted, "sft/eval")) == ([], [7, 20])
    assert main(["eval", *typed.get(named, [recipe, "--stage=sft"]), "--step", "20"]) == 0
    found = json.loads((adapted / "sft/eval/step-000020.json").read_bytes())
    assert ([*found["held_out"]], [*found["tasks"]]) == (["code", "web"], ["cats"])
    title = "" if named == "by its folder" else "sft: "
    assert f"{title}tasks\ntask metric step 7 step 20 " in single(capsys.readouterr().out)
    assert main(["eval", str(adapted), "--step", "20"]) == 0
    capsys.readouterr()
    assert main(["compare", str(adapted), f"{adapted}/sft@20", "--name", "web", "--format", "json"]) == 0
    (web,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (web["difference"], web["num_items"]) == (0.0, 5)


def test_a_stage_whose_tokenizer_is_another_is_not_scored_on_the_runs_documents(
    adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = adapted / "sft/tokenizer/tokenizer.json"
    path.write_text(path.read_text() + "\n")
    assert main(["eval", f"{adapted}/sft"]) == 2
    assert "sft/tokenizer/tokenizer.json: not the tokenizer that the held-out documents" in capsys.readouterr().err
    assert main(["eval", f"{adapted}/sft", "--task", "cats.jsonl"]) == 0
    assert steps(adapted, "sft/eval") == [7, 20]


def test_a_stage_of_a_run_elsewhere_has_its_results_there(adapted: Path) -> None:
    folder = run_folder(f"memory://{adapted.parent.name}/chat")
    for path in adapted.rglob("*"):
        if path.is_file():
            folder.put(path.relative_to(adapted).as_posix(), path)
    assert main(["eval", f"{folder.url}/sft", "--step", "20"]) == 0
    assert main(["eval", folder.url, "--stage", "sft", "--step", "20", "--task", "cats.jsonl"]) == 0
    results = json.loads(folder.read("sft/eval/step-000020.json"))
    assert ([*results["held_out"]], [*results["tasks"]]) == (["code", "web"], ["cats"])
    assert next(folder.list("eval"), None) is None


def test_a_checkpoint_of_a_stage_by_its_path(adapted: Path) -> None:
    typed = ["eval", str(adapted), "--checkpoint", f"{adapted}/sft/train/step-000020"]
    assert main([*typed, "--stage", "sft"]) == 0
    assert steps(adapted, "sft/eval") == [20]
    assert main(typed) == 0  # the same weights as a guest of the run's own
    assert [path.name for path in (adapted / "eval").iterdir() if path.is_dir()] == [
        json.loads((adapted / "sft/eval/step-000020.json").read_bytes())["digests"]["weights"][7:19]
    ]


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["sft", "--stage", "dpo"], 2, "found --stage dpo, but .*/sft is the folder of sft"),
        (["", "--stage", "dpo"], 2, "no run that was trained: it has no dpo/train/config.json"),
        (["sft", "--step", "9"], 2, "/sft/train: no checkpoint of step 9. There are: 7, 20."),
        (["", "--stage", "mix"], 2, "--stage takes train or sft or dpo, found 'mix'"),
    ],
)
def test_a_stage_that_cannot_be_scored(
    adapted: Path, typed: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(adapted / typed[0]), *typed[1:]]) == code
    assert re.search(words, capsys.readouterr().err)
    assert not (adapted / "sft/eval").exists()


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["--step", "8"], 2, "/train: no checkpoint of step 8. There are: 7, 9, 20."),
        (["--step", "x"], 2, "--step takes a whole number from 0 on, found 'x'"),
        (["--limit", "0"], 2, "--limit takes a whole number from 1 on, found '0'"),
        (["--step", "7", "--all"], 2, "found --step and --all; give one of them"),
        (["--all", "--dry-run"], 2, "found --dry-run, which are for the stage: give a recipe alone"),
        (["--checkpoint", "train"], 2, "not the folder of a checkpoint, which is called …/train/step-000200"),
        (["--checkpoint", "x/train/step-000007"], 2, "no checkpoint that is whole: it has no commit.json"),
        (["--task", "none.jsonl"], 2, "eval.tasks: none.jsonl: no such file."),
        (["eval.held_out=false"], 2, "has no recipe.yaml that it could change"),
    ],
)
def test_what_cannot_be(
    place: Path, typed: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(place), *typed]) == code
    assert words in capsys.readouterr().err
    assert not (place / "eval").exists()


def test_a_folder_without_checkpoints(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for commit in place.glob("train/*/commit.json"):
        commit.unlink()
    assert main(["eval", str(place)]) == 1
    assert "/train: no checkpoint that is whole. Train first" in capsys.readouterr().err
    assert main(["eval", str(place / "none"), "--task", "cats.jsonl"]) == 2
    assert "/none: no run that was trained: it has no train/config.json" in capsys.readouterr().err


def test_a_folder_whose_only_model_is_that_of_a_stage(adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for commit in adapted.glob("train/*/commit.json"):
        commit.unlink()
    assert main(["eval", str(adapted)]) == 1
    assert "dolma-pipeline train RECIPE. Or score another model: --stage sft." in capsys.readouterr().err


def test_two_steps_are_compared(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(place), "--all"]) == 0
    assert main(["eval", str(place), "--step", "9", "--task", "cats.jsonl"]) == 0
    capsys.readouterr()
    assert main(["compare", f"{place}@7", str(place)]) == 0  # the last one is 20
    out = single(capsys.readouterr().out)
    assert out.startswith(f"a: {place}/eval/step-000007.json\nb: {place}/eval/step-000020.json\n\ntask metric a b")
    assert "web bits_per_byte" in out
    assert main(["compare", f"{place}@9", f"{place}@20"]) == 0
    assert f"cats: only in {place}/eval/step-000009.json\n" in capsys.readouterr().out
    assert main(["compare", f"{place}@9", f"{place}@7", "--name", "web", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (found["name"], found["difference"], found["share"], found["num_items"]) == ("web", 0.0, 0.5, 5)
    assert main(["compare", str(place)]) == 2
    assert "'compare' takes two runs, such as runs/a@200 runs/b; found 1" in capsys.readouterr().err
    assert main(["compare", f"{place}@x", str(place)]) == 2
    assert "@STEP takes a whole number from 0 on, found 'x'" in capsys.readouterr().err
