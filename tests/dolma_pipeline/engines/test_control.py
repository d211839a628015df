"""The control folder: a phase's tasks, the queue, and what is handed over."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline.engines.control import FIRST, FIRST_OF, MANY, Control, controlling, kept_at
from dolma_pipeline.errors import RunError
from dolma_pipeline.run.log import CONTROL, LogSegments
from dolma_pipeline.run.phase import Task
from tests.dolma_pipeline.engines.toys import memory_run


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


def tasks_of(*weights: int) -> Iterator[Task]:
    for number, weight in enumerate(weights):
        yield Task(f"task-{number}", weight, {"number": number, "text": "x" * number})


def test_tasks_come_heaviest_first_with_all_they_carry(control: Control) -> None:
    assert control.write_tasks("00", tasks_of(1, 9, 3, 9, 0)) == 5
    taken = list(control.queued_tasks("00"))
    assert [task.key for task in taken] == ["task-1", "task-3", "task-2", "task-0", "task-4"]
    assert taken[2] == Task("task-2", 3, {"number": 2, "text": "xx"})
    assert list(control.queued_tasks("00")) == []


def test_of_many_tasks_some_of_all_weights_come_first(control: Control) -> None:
    tasks = [Task(f"web/{number:04d}", number) for number in range(1000)]
    assert control.write_tasks("00", tasks) == 1000
    taken = [task.weight for task in control.queued_tasks("00")]
    assert sorted(taken) == list(range(1000))
    first, rest = taken[:FIRST], taken[FIRST:]
    assert rest == sorted(rest, reverse=True)
    assert 350 < sum(first) / len(first) < 650
    control.write_tasks("01", iter(tasks[::-1]))
    assert [task.weight for task in control.queued_tasks("01")][:FIRST] == first, "whatever their order"
    control.write_tasks("02", tasks[:MANY])
    some = [task.weight for task in control.queued_tasks("02")]
    assert some[MANY // FIRST_OF :] == sorted(some[MANY // FIRST_OF :], reverse=True)
    assert some != sorted(some, reverse=True)
    control.write_tasks("03", tasks[: MANY - 1])
    assert [task.weight for task in control.queued_tasks("03")] == list(range(MANY - 1))[::-1]


def test_phases_have_a_queue_each_and_a_new_plan_begins_anew(control: Control) -> None:
    control.write_tasks("00", tasks_of(1, 1, 1))
    control.write_tasks("01", tasks_of(1, 1))
    first = control.queued_tasks("00")
    assert [next(first).key, next(first).key] == ["task-0", "task-1"]
    assert [task.key for task in control.queued_tasks("01")] == ["task-0", "task-1"]
    control.write_tasks("00", tasks_of(1))  # after a worker died: what is left
    assert [task.key for task in control.queued_tasks("00")] == ["task-0"]


def test_no_tasks(control: Control) -> None:
    assert control.write_tasks("00", iter(())) == 0
    assert list(control.queued_tasks("00")) == []


def test_workers_share_the_tasks(control: Control) -> None:
    control.write_tasks("00", tasks_of(*[1] * 500))
    taken: list[list[str]] = [[] for _ in range(4)]
    barrier = threading.Barrier(4)

    def work(mine: list[str]) -> None:
        barrier.wait()
        mine.extend(task.key for task in Control(control.path).queued_tasks("00"))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for mine in taken for key in mine) == sorted(task.key for task in tasks_of(*[1] * 500))


def test_a_queue_that_is_not_there_is_an_error(control: Control) -> None:
    control.write_tasks("00", tasks_of(1))
    (control.path / "queue" / "00").unlink()
    with pytest.raises(FileNotFoundError, match="queue/00"):
        next(control.queued_tasks("00"))


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_on_the_scratch_disk_and_goes_when_its_logs_are_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("DOLMA_SCRATCH", str(tmp_path / "scratch"))
    run = memory_run()

    def use() -> None:
        with controlling(run.folder) as control:
            assert control.path.parent == tmp_path / "scratch"
            monkeypatch.setenv(CONTROL, str(control.path))
            assert Control.here().path == control.path
            log = LogSegments(run)
            log.event("tag", "begin", tasks=1)
            log.flush()
            control.workers_file.write_bytes(b"last words")
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            use()
    else:
        use()
    assert os.listdir(tmp_path / "scratch") == []
    assert run.folder.read("log/workers.txt") == b"last words"
    assert b'"event":"begin","tasks":1' in run.folder.read("log/events.jsonl")
    assert kept_at(run.folder) == f"{run.folder.url}/log/workers.txt"


def test_logs_that_cannot_be_kept_do_not_hide_why_a_run_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = memory_run()

    def full(*_: object, **__: object) -> None:
        raise RunError("no space")

    monkeypatch.setattr("dolma_pipeline.engines.control.join_logs", full)
    with pytest.raises(ValueError, match="the reason") as caught, controlling(run.folder):
        raise ValueError("the reason")
    assert caught.value.__notes__ == ["The logs of this run could not be kept: no space"]
    with pytest.raises(RunError, match="no space"), controlling(run.folder):
        pass
