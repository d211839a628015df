"""`eval` as a stage: what it is made of, what goes when it is made again, and files at URLs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.evals.run import read_tasks
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.model import EvalStage, is_of_other_training, with_local_tasks
from tests.dolma_pipeline.stages.small import artifacts_of, small_run

ITEM = '{"context": "Q", "choices": [" a", " b"], "gold": 0}\n'


def evaluated(folder: Path, *, sections: dict[str, Any] | None = None, **config: Any) -> Any:
    trained = {"train": {}, "eval": {"held_out": False, **config}, **(sections or {})}
    return small_run(
        folder,
        {"web/a": ["one text", "another text"]},
        mix={"held_out": {"share": 0.1}},
        tokenizer={"train": "bpe", "vocab_size": 300},
        tokens={},
        **trained,
    )


def eval_of(run: Any) -> Artifact:
    return artifacts_of(run)["eval"]


def test_it_is_of_the_content_of_tasks_and_documents(tmp_path: Path) -> None:
    items, task, notes = (tmp_path / name for name in ("cats-items.jsonl", "cats.yaml", "notes.jsonl"))
    items.write_text(ITEM)
    task.write_text("items: cats-items.jsonl\n")
    notes.write_text('{"text": "x"}\n')
    given: dict[str, Any] = {"tasks": [str(task)], "documents": {"notes": str(notes)}}
    found = eval_of(evaluated(tmp_path, **given))
    assert sorted(found.files) == ["eval.documents.notes", "eval.tasks.cats"]
    assert found.reads == {"eval.held_out": False}
    assert eval_of(evaluated(tmp_path, **given)).digest == found.digest
    digests = {found.digest, eval_of(evaluated(tmp_path, precision="bf16", **given)).digest}
    for path, text in (
        (items, ITEM * 2),
        (task, "items: cats-items.jsonl\nprefix: none\n"),
        (task, "items: cats-items.jsonl\nprefix: none\nmetric: acc_norm\n"),
        (notes, '{"text": "y"}\n'),
    ):
        path.write_text(text)
        digests.add(eval_of(evaluated(tmp_path, **given)).digest)
    assert len(digests) == 6


def test_each_model_that_is_scored_is_an_artifact_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cats.jsonl").write_text(ITEM)
    (tmp_path / "chat.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    given: dict[str, Any] = {"tasks": [str(tmp_path / "cats.jsonl")]}
    sections = {"sft": {"data": str(tmp_path / "chat.jsonl")}}
    alone = artifacts_of(evaluated(tmp_path, **given))
    both = artifacts_of(evaluated(tmp_path, sections=sections, stages=["sft", "train"], **given))
    assert both["eval"].digest == alone["eval"].digest  # another model's scores make nothing stale
    assert [need.name for need in both["sft/eval"].needs] == ["sft"]
    assert (both["sft/eval"].files, both["sft/eval"].owned[0]) == (both["eval"].files, "sft/eval/manifest.json")
    held_out = artifacts_of(evaluated(tmp_path, sections=sections, stages=["sft"], held_out=True))
    assert "eval" not in held_out
    assert [need.name for need in held_out["sft/eval"].needs] == ["sft", "tokens"]


def test_results_go_with_the_training_that_they_are_of(tmp_path: Path) -> None:
    (tmp_path / "cats.jsonl").write_text(ITEM)
    run = evaluated(tmp_path, tasks=[str(tmp_path / "cats.jsonl")])
    assert eval_of(run).owned[0] == "eval/manifest.json"  # results that somebody made before the stage stay
    train = artifacts_of(run)["train"].digest
    run.folder.write("eval/manifest.json", json.dumps({"needs": {"train": train}}).encode())
    assert eval_of(run).owned[0] == "eval/manifest.json"
    run.folder.write("eval/manifest.json", json.dumps({"needs": {"train": "sha256:of before"}}).encode())
    assert eval_of(run).owned[0] == "eval"


def test_a_stage_runs_no_programs(tmp_path: Path) -> None:
    row = {"task_id": "a", "prompt": "x", "entry_point": "f", "canonical_solution": "y", "test": "z"}
    (tmp_path / "humaneval.jsonl").write_text(json.dumps(row))
    run = evaluated(tmp_path, tasks=[str(tmp_path / "humaneval.jsonl")])
    with pytest.raises(
        ConfigError, match=r"eval\.tasks: humaneval runs programs that the model writes, .* --allow-code"
    ):
        EvalStage().check(Process.of(run))


def test_a_task_file_at_a_url_comes_with_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cats.jsonl").write_text(ITEM)
    process = Process.of(evaluated(tmp_path, tasks=[str(tmp_path / "cats.jsonl")]))
    texts = {
        "s3://b/t/dogs.yaml": "items: dogs.jsonl\nshots: 1\nexamples: dev.jsonl\n",
        "s3://b/t/dogs.jsonl": ITEM,
        "s3://b/t/dev.jsonl": ITEM.replace('"Q"', '"E"'),
        "s3://b/t/deep.yaml": "items: below/dogs.jsonl\n",
        "s3://b/t/notes.jsonl": '{"text": "x"}\n',
    }
    monkeypatch.setattr("dolma_pipeline.stages.model.location", lambda url, _: url)
    monkeypatch.setattr("dolma_pipeline.stages.model.name_of", lambda url: url.rpartition("/")[2])
    monkeypatch.setattr("dolma_pipeline.stages.model.read_small", lambda url, _: texts[url].encode())
    config = EvalConfig(tasks=("s3://b/t/dogs.yaml",), documents={"notes": ("s3://b/t/notes.jsonl", "here.jsonl")})
    local = with_local_tasks(process, config)
    ((task, (item,)),) = read_tasks(local).values()
    assert (task.name, item.answers[0][0]) == ("dogs", "E a\n\nQ")
    (copy, here) = local.documents["notes"]
    assert (Path(copy).read_text(), here) == (texts["s3://b/t/notes.jsonl"], "here.jsonl")
    with pytest.raises(
        UsageError, match=r"deep\.yaml: names below/dogs\.jsonl; what a task file at a URL names lies bes"
    ):
        with_local_tasks(process, EvalConfig(tasks=("s3://b/t/deep.yaml",)))


def test_scores_are_of_the_training_that_their_record_names(tmp_path: Path) -> None:
    (tmp_path / "cats.jsonl").write_text(ITEM)
    run = evaluated(tmp_path, tasks=[str(tmp_path / "cats.jsonl")])
    assert not is_of_other_training(run, "sha256:a")  # nobody says of which they are
    run.folder.write("eval/manifest.json", b'{"needs": {"train": "sha256:a"}}')
    assert not is_of_other_training(run, "sha256:a")
    assert is_of_other_training(run, "sha256:b")
    run.folder.write("sft/eval/manifest.json", b'{"needs": {"sft": "sha256:c"}}')
    assert is_of_other_training(run, "sha256:a", stage="sft")
    assert not is_of_other_training(run, "sha256:c", stage="sft")
