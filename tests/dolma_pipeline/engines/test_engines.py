"""What every engine does: the same bytes, every task once, phases in order, errors in the same words."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import orjson
import pytest

from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.engines.engine import Engine
from dolma_pipeline.engines.here import Here
from dolma_pipeline.engines.local import Local
from dolma_pipeline.errors import DataError, StageError
from dolma_pipeline.run import perform
from dolma_pipeline.run.log import CONTROL
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.local import LocalFolder
from dolma_pipeline.storage.scratch import VARIABLE
from tests.dolma_pipeline.engines.toys import (
    CHAIN,
    Bad,
    CountWords,
    Initials,
    Many,
    Total,
    events,
    expected_total,
    memory_run,
    promised,
    records_of,
    toy_run,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return toy_run(LocalFolder(tmp_path / "run"))


@pytest.fixture(scope="module")
def plain() -> Run:
    """The toy run, phase by phase, without an engine."""
    run = memory_run()
    for phase in CHAIN:
        perform.whole(run, phase)
    return run


def test_every_engine_gives_the_same_bytes(engine: Engine, run: Run, plain: Run) -> None:
    engine.run(run, CHAIN)
    assert promised(run.folder) == promised(plain.folder)
    assert records_of(run.folder) == records_of(plain.folder)
    assert Counter(orjson.loads(run.folder.read("total/words.json"))) == expected_total()


@pytest.mark.parametrize("engine", [Here(), Local(), OnBeam("FnApiRunner")], ids=["here", "in memory", "by name"])
def test_a_run_in_memory_gives_the_same_bytes(engine: Engine, plain: Run) -> None:
    run = memory_run()
    engine.run(run, CHAIN)
    assert promised(run.folder) == promised(plain.folder)


@pytest.mark.parametrize("is_spread", [False, True])
def test_a_phase_begins_when_the_one_before_it_has_ended_and_every_task_is_done_once(
    engine: Engine, run: Run, is_spread: bool
) -> None:
    tasks = {"toy/none": 0, "toy/words": 12, "toy/initials": 2, "toy/total": 1, "toy/b": 1, "toy/c": 4}
    total = Total(is_spread=is_spread)
    none, few, last = (Many(label=label, num_tasks=tasks[label]) for label in ("toy/none", "toy/b", "toy/c"))
    engine.run(run, [none, CountWords(), Initials(), total, few, last])
    found = events(run.folder)
    order = [name for name, _ in found]
    assert list(dict.fromkeys(order)) == list(tasks)
    assert order == sorted(order, key=list(tasks).index)
    for phase, num_tasks in tasks.items():
        asked = [what for name, what in found if name == phase]
        assert (asked[0], asked[-1]) == ("begin", "end")
        assert len(set(asked[1:-1])) == len(asked[1:-1]) == num_tasks


def test_barriers_hold_in_a_long_chain(engine: Engine, run: Run) -> None:
    phases = [Many(label=f"toy/{number}", num_tasks=3) for number in range(6)]
    engine.run(run, phases)
    order = [name for name, _ in events(run.folder)]
    assert order == [phase.label for phase in phases for _ in range(5)]


def test_what_is_done_is_left_out_and_what_is_finished_is_not_asked(engine: Engine, run: Run) -> None:
    for task in list(CountWords().tasks(run))[:5]:
        perform.work(run, CountWords(), task)
    perform.flush(run)
    run.folder.delete_tree("log")
    engine.run(run, CHAIN)
    done = [what for name, what in events(run.folder) if name == "toy/words"]
    assert sorted(done[1:-1]) == [f"{number:03d}.txt" for number in range(5, 12)]
    before = promised(run.folder)
    run.folder.delete_tree("log")
    engine.run(run, CHAIN)
    assert events(run.folder) == [(phase.name, event) for phase in CHAIN for event in ("begin", "end")]
    assert promised(run.folder) == before


def test_no_phases_are_nothing_to_do(engine: Engine, run: Run) -> None:
    before = [entry.name for entry in run.folder.list()]
    engine.run(run, [])
    assert [entry.name for entry in run.folder.list()] == before


def test_an_error_of_ours_keeps_its_kind_and_names_phase_and_task(engine: Engine, run: Run) -> None:
    with pytest.raises(DataError, match=r"^toy/bad, 000003: 000003 is bad$") as caught:
        engine.run(run, [Bad(), Many()])
    assert caught.value.exit_code == 1
    assert "toy/many" not in {name for name, _ in events(run.folder)}
    raised = [orjson.loads(line) for line in run.folder.read("log/raised.jsonl").splitlines()]
    assert {(row["step"], row["task"], row["error"], row["message"]) for row in raised} == {
        ("toy/bad", "000003", "DataError", "000003 is bad")
    }


def test_any_other_error_comes_with_its_traceback(engine: Engine, run: Run) -> None:
    with pytest.raises(StageError) as caught:
        engine.run(run, [Bad(act="other")])
    message = str(caught.value)
    assert message.startswith("toy/bad, 000003: ZeroDivisionError: nothing goes into nothing\nTraceback (most recent")
    assert 'raise ZeroDivisionError("nothing goes into nothing")' in message
    assert "reports.py" not in message


@pytest.mark.parametrize("where", ["plan", "finish"])
def test_what_is_raised_between_tasks_names_no_task(engine: Engine, run: Run, where: str) -> None:
    with pytest.raises(DataError, match=rf"^{where} is bad$"):
        engine.run(run, [Many(), Bad(where=where), Many(label="toy/late")])
    assert "toy/late" not in {name for name, _ in events(run.folder)}


def test_after_an_error_the_same_phases_go_on(engine: Engine, run: Run, plain: Run) -> None:
    with pytest.raises(DataError):
        engine.run(run, [CountWords(), Bad(), Initials(), Total()])
    engine.run(run, CHAIN)
    run.folder.delete_tree(".done/toy.bad-" + Bad().digest[7:19])
    assert promised(run.folder) == promised(plain.folder)
    assert run.folder.stat("log/raised.jsonl") is None
    tasks = Counter(what for name, what in events(run.folder) if name == "toy/words" and what.endswith(".txt"))
    assert (len(tasks), set(tasks.values())) == (12, {1})


@pytest.mark.parametrize(
    ("engine", "num_tasks"), [("two workers", 10_000), ("in memory", 2000), ("by name", 2000)], indirect=["engine"]
)
def test_ten_thousand_tasks(engine: Engine, num_tasks: int, tmp_path: Path) -> None:
    run = toy_run(LocalFolder(tmp_path / "run", durable=False))
    engine.run(run, [Many(num_tasks=num_tasks)])
    done = Counter(what for _, what in events(run.folder))
    assert len(done) == num_tasks + 2
    assert set(done.values()) == {1}
    assert len(records_of(run.folder)) == num_tasks + 1


def test_the_environment_is_as_it_was(engine: Engine, run: Run) -> None:
    before = dict(os.environ)
    engine.run(run, CHAIN)
    assert dict(os.environ) == before
    assert {CONTROL, VARIABLE}.isdisjoint(before)


def test_a_task_that_was_lost_is_told_before_the_phase_is_finished() -> None:
    run, finished = memory_run(), list[str]()

    class Watched(Many):
        def finish(self, run: Run, records: object) -> None:
            finished.append("too soon")

    phase: Phase = Watched(num_tasks=5)
    perform.work(run, phase, Task("000002", payload=2))
    message = r"^toy/many: 4 of its 5 tasks not done: 000000, 000001, 000003\. The same command goes on from there\.$"
    with pytest.raises(Exception, match=message):
        perform.end(run, phase)
    assert finished == []
