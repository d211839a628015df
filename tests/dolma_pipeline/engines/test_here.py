"""The plain loop, and what it does to a run where tests ask for it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dolma_pipeline.engines.here import Here
from dolma_pipeline.errors import RunError, StageError
from dolma_pipeline.run import perform
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import CHAIN, Many, events, memory_run, promised, records_of


@pytest.fixture(scope="module")
def plain() -> Run:
    run = memory_run()
    for phase in CHAIN:
        perform.whole(run, phase)
    return run


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_repeated_gives_the_same_bytes(plain: Run, seed: int) -> None:
    run = memory_run()
    Here(seed=seed, repeated=0.4, again=True).run(run, CHAIN)
    assert promised(run.folder) == promised(plain.folder)
    assert records_of(run.folder) == records_of(plain.folder)


def test_tasks_are_shuffled_by_the_seed_and_repeats_are_drawn_by_it() -> None:
    found = []
    for engine in (Here(), Here(), Here(seed=1, repeated=0.5), Here(seed=1, repeated=0.5), Here(seed=2, repeated=0.5)):
        run = memory_run()
        engine.run(run, [Many(num_tasks=20)])
        found.append([what for _, what in events(run.folder)])
    keys = [f"{number:06d}" for number in range(20)]
    assert found[0] == found[1] == ["begin", *keys, "end"]
    assert found[2] == found[3] != found[4]
    assert set(found[2]) == set(found[4]) == set(found[0])
    often = Counter(found[2])
    assert set(often.values()) == {1, 3}  # a repeated one: twice in a row, and late
    late = found[2][found[2].index("end") + 1 :]
    assert sorted(late) == sorted(key for key, times in often.items() if times == 3)


def test_all_is_repeated_if_asked() -> None:
    run = memory_run()
    Here(repeated=1.0).run(run, [Many(num_tasks=3)])
    assert [what for _, what in events(run.folder)] == [
        "begin", "000000", "000000", "000001", "000001", "000002", "000002", "end", "000000", "000001", "000002",
    ]  # fmt: skip


@dataclass(frozen=True)
class Fickle(Many):
    """Plans other tasks each time."""

    calls: list[int] = field(default_factory=list)

    def tasks(self, run: Run) -> Iterator[Task]:
        with Process.lock:
            number = int(run.folder.read("asked")) + 1
            run.folder.write("asked", b"%d" % number)
        yield Task(f"task-{number}")


def test_a_plan_that_changes_is_found() -> None:
    run = memory_run()
    run.folder.write("asked", b"0")
    with pytest.raises(RunError, match=r"^toy/many: its plan is another one when it is asked for again\.$"):
        Here(again=True).run(run, [Fickle()])


@dataclass(frozen=True)
class Grows(Many):
    """Has one task more when it has been finished."""

    def tasks(self, run: Run) -> Iterator[Task]:
        yield from super().tasks(run)
        if run.folder.stat("finished"):
            yield Task("more")

    def finish(self, run: Run, records: Any) -> None:
        run.folder.write("finished", b"")


def test_a_phase_that_has_tasks_left_after_its_end_is_found() -> None:
    run = memory_run()
    with pytest.raises(RunError, match=r"^toy/many: 1 of its 11 tasks not done: more\."):
        Here(again=True).run(run, [Grows()])
    Here().run(memory_run(), [Grows()])


@dataclass(frozen=True)
class Untravelled(Many):
    """Its tasks hold what cannot be pickled."""

    def tasks(self, run: Run) -> Iterator[Task]:
        yield Task("a", payload=lambda: None)

    def work(self, process: Process, task: Task) -> Work:
        raise AssertionError("it never arrives")


def test_what_cannot_travel_is_found() -> None:
    with pytest.raises(StageError, match=r"(?s)^toy/many, a: \w+: .*[Cc]an't pickle"):
        Here().run(memory_run(), [Untravelled()])


def test_it_says_where_it_is() -> None:
    said: list[str] = []
    Here().run(memory_run(), CHAIN, say=said.append)
    assert said == ["[1/3] toy/words", "[2/3] toy/initials", "[3/3] toy/total"]


def test_neither_it_nor_an_engine_with_nothing_to_do_loads_beam() -> None:
    script = (
        "import sys\n"
        "from tests.dolma_pipeline.engines.toys import CHAIN, memory_run\n"
        "from dolma_pipeline.engines import Here\n"
        "from dolma_pipeline.engines.beam import OnBeam\n"
        "from dolma_pipeline.engines.local import Local\n"
        "run = memory_run()\n"
        "Here().run(run, CHAIN)\n"
        "for engine in (Local(), Local(2), OnBeam('FnApiRunner')): engine.run(run, [])\n"
        "assert run.folder.stat('total/manifest.json')\n"
        "print(*sorted({'apache_beam', 'numba', 'duckdb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("\n", 0), done.stderr
