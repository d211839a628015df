"""Packing of tasks, logs, and the steps without Beam."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import Step, Task, append_line, heaviest_first, log_event, pack
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.runner import launcher, run
from tests.pipeline.tiny import files, recipe

ROOT = Path(__file__).parents[3]
tasks = st.lists(st.integers(0, 1000), max_size=40).map(lambda ws: [Task(f"t{i:02d}", w) for i, w in enumerate(ws)])


@settings(max_examples=200, deadline=None)
@given(tasks, st.integers(0, 9))
def test_bins_hold_every_task_once_and_are_even(found: list[Task], num_bins: int) -> None:
    bins = pack(found, num_bins)
    assert sorted((task for one in bins for task in one), key=lambda task: task.key) == found
    assert len(bins) <= max(1, num_bins)
    assert all(one == sorted(one, key=lambda task: task.key) and one for one in bins)
    weights = [sum(max(1, task.weight) for task in one) for one in bins]
    if found:  # longest first is at most 4/3 of the best, which is no less than the mean and the heaviest
        best = max(sum(weights) / max(1, num_bins), max(max(1, task.weight) for task in found))
        assert max(weights) <= 4 / 3 * best + max(task.weight for task in found) / 3 + 1


def test_bins_do_not_depend_on_the_order_of_tasks() -> None:
    found = [Task(f"t{i}", (i * 7) % 5) for i in range(20)]
    assert pack(found, 3) == pack(found[::-1], 3)
    assert [len(one) for one in pack([Task("big", 100), *(Task(f"s{i}", 10) for i in range(10))], 2)] == [1, 10]


def test_tasks_that_are_taken_by_turns_are_each_taken_once(tmp_path: Path) -> None:
    """By processes that start together and have nothing else to do."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dolma_pipeline.stages.step import Task, take_turns\n"
        "sys.stdin.readline()\n"
        "tasks = [Task(f't{i:04d}') for i in range(3000)]\n"
        "print(*(task.key for task in take_turns(tasks, Path(sys.argv[1]))))\n"
    )
    (tmp_path / "turns").touch()
    command = [sys.executable, "-c", script, tmp_path / "turns"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    found = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes) for _ in range(3)]
    for one in found:
        one.stdin.write("go\n")
        one.stdin.flush()
    taken = [one.communicate()[0].split() for one in found]
    assert sorted(key for keys in taken for key in keys) == [f"t{i:04d}" for i in range(3000)]
    assert all(keys == sorted(keys) for keys in taken)


def test_heavy_tasks_are_dealt_out_first() -> None:
    found = [Task("a", 1), Task("c", 5), Task("b", 5)]
    assert [task.key for task in heaviest_first(found)] == ["b", "c", "a"]


def test_logs_are_json_lines(tmp_path: Path) -> None:
    append_line(tmp_path / "a" / "b.jsonl", {"x": "é\n"})
    append_line(tmp_path / "a" / "b.jsonl", {"x": 2})
    assert [json.loads(line) for line in (tmp_path / "a/b.jsonl").read_text().splitlines()] == [{"x": "é\n"}, {"x": 2}]
    log_event(RunContext(recipe(tmp_path), str(tmp_path)), "mix/filter", "begin", tasks=3)
    row = json.loads((tmp_path / "log/events.jsonl").read_text())
    assert (row["step"], row["event"], row["tasks"]) == ("mix/filter", "begin", 3)
    assert row["time"] > 1.7e9


@pytest.mark.usefixtures("plain")
def test_steps_without_beam_leave_the_same_bytes(finished: Path, here: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path / "run"), quiet=True)
    assert files(tmp_path / "run") == files(finished)


def test_a_step_done_twice_is_done_once(
    finished: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a step finds half done, doing a task again changes nothing."""

    def twice(context: RunContext, steps: Sequence[Step], **options: object) -> None:
        for step in steps:
            context.prepare()
            found = step.tasks()
            for task in [*found, *found[::-1]]:
                step.work(task)
            assert step.tasks() == []
            step.finish()

    monkeypatch.setattr(launcher, "run_on_beam", twice)
    run(recipe(tmp_path / "run"), quiet=True)
    assert files(tmp_path / "run") == files(finished)
