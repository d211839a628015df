"""A phase begun, a task done, a phase ended, however often."""

from __future__ import annotations

import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.run import perform
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.records import done_tasks
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import CHAIN, TEXTS, CountWords, events, expected_total, memory_run, promised


@pytest.fixture
def run() -> Run:
    return memory_run()


def test_what_is_left_is_planned(run: Run) -> None:
    phase = CountWords()
    tasks = list(perform.begin(run, phase))
    assert len(tasks) == len(TEXTS)
    done = perform.work(run, phase, tasks[4])
    assert (done.phase, done.task) == ("toy/words", "004.txt")
    assert done.cpu_seconds >= 0
    assert [task.key for task in perform.begin(run, phase)] == [t.key for t in tasks if t is not tasks[4]]


def test_a_task_that_is_done_is_not_done_again_unless_it_is_asked_for(run: Run) -> None:
    phase = CountWords()
    task = next(perform.begin(run, phase))
    perform.work(run, phase, task)
    run.folder.write(f"words/{task.key}.json", b"changed")
    perform.work(run, phase, task)
    assert run.folder.read(f"words/{task.key}.json") == b"changed"
    perform.work(run, phase, task, again=True)
    assert run.folder.read(f"words/{task.key}.json") != b"changed"


def test_an_end_with_tasks_left_closes_nothing(run: Run) -> None:
    phase = CountWords()
    for task in list(perform.begin(run, phase))[2:]:
        perform.work(run, phase, task)
    with pytest.raises(RunError) as caught:
        perform.end(run, phase)
    assert str(caught.value) == (
        "toy/words: 2 of its 12 tasks not done: 000.txt, 001.txt. The same command goes on from there."
    )
    assert read_manifest(run.folder, "words") is None


def test_ends_and_plans_after_the_end_do_nothing(run: Run) -> None:
    for phase in CHAIN:
        perform.whole(run, phase)
    before = promised(run.folder)
    for phase in CHAIN:
        assert list(perform.begin(run, phase)) == []
        perform.end(run, phase)
    assert promised(run.folder) == before
    assert before["words/shards.jsonl"].count(b"\n") == len(TEXTS)
    assert read_manifest(run.folder, "total")["words"] == expected_total().total()  # type: ignore[index]


def test_a_late_copy_changes_nothing(run: Run) -> None:
    phase = CountWords()
    tasks = list(perform.begin(run, phase))
    perform.whole(run, phase)
    before = promised(run.folder)
    for task in tasks[::-1]:
        perform.work(run, phase, task, again=True)
    assert promised(run.folder) == before


def test_the_record_comes_after_the_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    put = type(run.folder)._put  # type: ignore[attr-defined]
    monkeypatch.setattr(type(run.folder), "_put", lambda self, name, c: (order.append(name), put(self, name, c))[1])
    phase = CountWords()
    task = next(perform.begin(run, phase))
    del order[:]
    perform.work(run, phase, task)
    assert [name.split("/")[0] for name in order] == ["words", ".done"]
    assert done_tasks(run, phase) == {task.key}


def test_the_log_says_what_began_and_ended(run: Run) -> None:
    from dolma_pipeline.engines.logs import join_logs

    perform.whole(run, CountWords())
    join_logs(run.folder)
    keys = [key for _, key in events(run.folder)]
    assert keys == ["begin", *(f"{i:03d}.txt" for i in range(12)), "end"]
