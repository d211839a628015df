from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.evals import run_programs as runner
from dolma_pipeline.evals.code import pass_rate, program_items
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.sandbox import Verdict
from dolma_pipeline.evals.tasks import read_task
from tests.dolma_pipeline.evals.scorers import task_of

EXERCISES = "".join(
    json.dumps(
        {
            "task_id": f"Own/{i}",
            "prompt": f"def add{i}(n):\n",
            "entry_point": f"add{i}",
            "canonical_solution": f"    return n + {i}\n",
            "test": f"def check(f):\n    assert f(1) == {i + 1}\n",
        }
    )
    + "\n"
    for i in range(3)
)


def writes(
    prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
) -> list[list[str]]:
    """Item i is right in the first i of its samples."""
    assert (max_tokens, samples, temperature) == (99, 3, 0.8)
    return [
        [f"    return n + {i}" if sample < i else "    return 0" for sample in range(samples)]
        for i in range(len(prompts))
    ]


def test_pass_at_k_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are judged by what they say, not run: the sandbox has tests of its own."""
    monkeypatch.setattr(runner, "require_sandbox", lambda *, allow_code: None)
    monkeypatch.setattr(
        runner, "run_code", lambda program, **_: Verdict("passed" if "return n + " in program else "failed", "")
    )
    task = task_of(tmp_path, EXERCISES, "kind: code\nsamples: 3\ntemperature: 0.8\nmax_tokens: 99\nks: [1, 2]\n")
    scored = pass_rate(writes, task, program_items(task), allow_code=True)
    assert task.metric == "pass@1"
    assert [item.measures for item in scored.items] == [
        {"pass@1": 0.0, "pass@2": 0.0},
        {"pass@1": pytest.approx(1 / 3), "pass@2": pytest.approx(2 / 3)},
        {"pass@1": pytest.approx(2 / 3), "pass@2": 1.0},
    ]
    assert scored.numbers["pass@1"] == pytest.approx(1 / 3)
    assert scored.numbers["pass@2"] == pytest.approx(5 / 9)
    assert (scored.numbers["num_items"], scored.numbers["passed"], scored.numbers["failed"]) == (3, 3, 6)
    assert "items" not in scored.numbers
    assert [item.row()["passed_samples"] for item in scored.items] == [[], [0], [0, 1]]


def test_nothing_is_run_without_permission(tmp_path: Path) -> None:
    task = task_of(tmp_path, EXERCISES, "kind: code\nsamples: 3\ntemperature: 0.8\nmax_tokens: 99\n")
    with pytest.raises(UsageError, match="--allow-code"):
        pass_rate(writes, task, program_items(task), allow_code=False)


def test_named_tasks_read_published_files(tmp_path: Path) -> None:
    (tmp_path / "humaneval.jsonl").write_text(EXERCISES)
    task = read_task(tmp_path / "humaneval.jsonl")
    assert (task.config.kind, task.metric, len(program_items(task))) == ("code", "pass@1", 3)
    rows = [
        {"task_id": i, "prompt": f"Do {i}.", "code": "pass", "test_list": ["assert True"], "test_imports": []}
        for i in (2, 3, 4, 11)
    ]
    (tmp_path / "sanitized.json").write_text(json.dumps(rows))  # one list, as it is published
    (tmp_path / "mbpp.yaml").write_text("items: sanitized.json\nshots: 2\nsamples: 5\ntemperature: 0.5\nks: [5]\n")
    task = read_task(tmp_path / "mbpp.yaml")
    (item,) = program_items(task)
    assert (item.key, item.prompt.count("[DONE]")) == ("11", 2)
    assert task.metric == "pass@5"


def test_keys_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.yaml:3: samples: all would be the same with temperature 0"):
        task_of(tmp_path, EXERCISES, "kind: code\nsamples: 3\n")
    with pytest.raises(ConfigError, match=r"task\.yaml:4: metric: no metric named 'pass@1'\. Did you mean 'pass@5'"):
        task_of(tmp_path, EXERCISES, "kind: code\nks: [5]\nmetric: pass@1\n")
    with pytest.raises(ConfigError, match=r"task\.yaml:3: prompt: has no effect on a task of kind code"):
        task_of(tmp_path, EXERCISES, "kind: code\nprompt: x\n")
