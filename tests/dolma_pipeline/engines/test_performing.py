"""A phase begun, worked on and ended, as often and as late as an engine likes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.run import perform
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import CHAIN, CountWords, Many, events, memory_run, promised, records_of


@pytest.fixture
def run() -> Run:
    return memory_run()


WORKED: list[str] = []


@dataclass(frozen=True)
class Noted(Many):
    """Notes which tasks are worked on, and when it is finished."""

    def work(self, process: Process, task: Task) -> Work:
        WORKED.append(task.key)
        return super().work(process, task)

    def finish(self, run: Run, records: Iterator[object]) -> None:
        WORKED.append("finish")


@pytest.fixture(autouse=True)
def _nothing_worked() -> None:
    WORKED.clear()


def test_a_task_that_is_done_is_left_out_by_the_plan_and_by_the_work(run: Run) -> None:
    phase = Noted(num_tasks=3)
    tasks = list(perform.begin(run, phase))
    assert [task.key for task in tasks] == ["000000", "000001", "000002"]
    done = perform.work(run, phase, tasks[1])
    assert (done.phase, done.task) == ("toy/many", "000001")
    assert done.cpu_seconds >= 0
    assert [task.key for task in perform.begin(run, phase)] == ["000000", "000002"]
    perform.work(run, phase, tasks[1])
    assert WORKED == ["000001"]
    perform.work(run, phase, tasks[1], again=True)
    assert WORKED == ["000001", "000001"]


def test_a_phase_with_a_task_left_is_not_finished(run: Run) -> None:
    phase = Noted(num_tasks=5)
    for task in list(perform.begin(run, phase))[:4]:
        perform.work(run, phase, task)
    with pytest.raises(
        RunError, match=r"^toy/many: 1 of its 5 tasks not done: 000004\. The same command goes on from "
    ):
        perform.end(run, phase)
    assert "finish" not in WORKED


def test_everything_may_be_asked_again_and_late(run: Run) -> None:
    for phase in CHAIN:
        perform.whole(run, phase)
    before, records = promised(run.folder), records_of(run.folder)
    tasks = {phase.name: list(phase.tasks(run)) for phase in CHAIN}
    for phase in CHAIN:
        assert list(perform.begin(run, phase)) == []
        perform.end(run, phase)
        for task in tasks[phase.name]:
            perform.work(run, phase, task, again=True)
        perform.end(run, phase)
    assert (promised(run.folder), records_of(run.folder)) == (before, records)


def test_events_say_when_each_phase_began_and_ended(run: Run) -> None:
    from dolma_pipeline.engines.logs import join_logs

    perform.whole(run, CountWords())
    join_logs(run.folder)
    keys = [f"{number:03d}.txt" for number in range(12)]
    assert events(run.folder) == [("toy/words", what) for what in ("begin", *keys, "end")]
    assert b'"event":"begin","tasks":12' in run.folder.read("log/events.jsonl")


def test_flush_is_for_the_run_that_this_process_works_on(run: Run) -> None:
    other = memory_run()
    perform.work(run, Many(), Task("000000", payload=0))
    perform.flush(other)
    assert run.folder.stat("log/events") is None
    assert [entry.name for entry in run.folder.list("log")] == []
    perform.flush(run)
    assert len(list(run.folder.list("log/events"))) == 1
    Process.leave()
    perform.flush(run)
