"""A step: work that can be cut into tasks, between two barriers.

`tasks()` says what is left to do; `work(task)` does one of them, anywhere, and leaves files, then its done record;
`finish()` runs after all. A step travels to workers, so it holds names and settings, never data.

Engines repeat: any of the three may be called again, late, and in two processes at once. So none of them deletes
(the launcher does, when the pipeline has ended); what exists is read from records; what should be there and is not
is an error; and a step whose units have their manifests plans nothing and closes nothing.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dolma_pipeline.errors import RunError
from dolma_pipeline.io.manifest import Records
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.units import Unit


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of a step: its key within the step, and its weight (bytes, roughly) for packing."""

    key: str
    weight: int = 1


@dataclass(frozen=True)
class Step(ABC):
    """One kind of work over many tasks; subclasses are frozen dataclasses.

    Each `work` must give the same files whoever does it and however often it is repeated.

    context: the run. units: what this step helps to make; the last step of a unit writes its manifest.
    """

    context: RunContext
    units: tuple[Unit, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def name(self) -> str:
        """What people read in progress and errors, e.g. `mix/filter`."""

    @property
    def spread(self) -> bool:
        """Whether the tasks are spread over workers; a step of one small task is done where the turn is."""
        return True

    @property
    def stage(self) -> str:
        """The recipe's stage that this step belongs to."""
        return self.name.split("/")[0]

    @abstractmethod
    def all_tasks(self) -> list[Task]:
        """Every task of the step, done or not, in a fixed order; asked while its units are not finished."""

    @abstractmethod
    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """The done records of a task, and its name in each: it is done when all of them are there."""

    @abstractmethod
    def work(self, task: Task) -> None:
        """Do one task, and leave its records."""

    def close(self) -> None:
        """What `finish` does when all tasks are done, such as the manifests; the same bytes however often."""
        return

    @property
    def open_units(self) -> list[Unit]:
        """Units that have no manifest yet."""
        records = self.context.records
        return [unit for unit in self.units if not records(unit.name).closed(unit.manifest_fields(self.context))]

    def tasks(self) -> list[Task]:
        """What is left to do, in a fixed order; nothing where the units are finished."""
        if self.units and not self.open_units:
            return []
        return [task for task in self.all_tasks() if not all(records.has(key) for records, key in self.leaves(task))]

    def finish(self) -> None:
        """After all tasks: compare what is there with what there should be, and close.

        Raises:
            RunError: a task is not done, or a unit has another manifest.
        """
        if self.units and not self.open_units:
            return
        if left := self.tasks():
            names = ", ".join(task.key for task in left[:3])
            raise RunError(
                f"{self.name}: {len(left)} of its tasks not done: {names}. The same command goes on from there."
            )
        self.close()

    def run_here(self) -> None:
        """All of it in this process, without Beam."""
        self.context.prepare()
        for task in self.tasks():
            self.work(task)
        self.finish()

    def progress(self, documents: int, num_bytes: int) -> None:
        """Say that so much more was worked on (bytes of text)."""
        append_line(
            self.context.path / "log" / "progress" / f"{os.getpid()}.jsonl",
            {"step": self.name, "documents": documents, "bytes": num_bytes},
        )


def heaviest_first(tasks: Iterable[Task]) -> list[Task]:
    """The order in which tasks are dealt out, so that what is dealt last is small."""
    return sorted(tasks, key=lambda task: (-task.weight, task.key))


def pack(tasks: Sequence[Task], num_bins: int) -> list[list[Task]]:
    """Tasks in at most `num_bins` bins of about equal weight: heaviest first, each into the lightest bin."""
    bins: list[list[Task]] = [[] for _ in range(max(1, num_bins))]
    weights = [0] * len(bins)
    for task in heaviest_first(tasks):
        lightest = weights.index(min(weights))
        bins[lightest].append(task)
        weights[lightest] += max(1, task.weight)
    return [sorted(b, key=lambda t: t.key) for b in bins if b]


def take_turns(tasks: Sequence[Task], turns: Path) -> Iterator[Task]:
    """Those of `tasks` that fall to this process, while other processes of this machine do the same.

    A task that was taken counts as taken even if it is never done, so whoever uses this must start over, with an
    empty file, when a process dies.

    Args:
        turns: an empty file that grows by a byte a turn; the same for all.

    Raises:
        OSError: it is not there, or the disk is full.
    """
    while True:
        file = os.open(turns, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, b".")  # appending is atomic, and leaves the position after the own byte
            turn = os.lseek(file, 0, os.SEEK_CUR) - 1
        finally:
            os.close(file)
        if turn >= len(tasks):
            return
        yield tasks[turn]


def append_line(path: Path, row: dict[str, object]) -> None:
    """Append one JSON line to a log; a line is one write, so readers never see half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        file.write((json.dumps(row) + "\n").encode())


def log_event(context: RunContext, step: str, event: str, **more: object) -> None:
    """Append to `log/events.jsonl`: which step began or ended when, and what it cost."""
    append_line(
        context.path / "log" / "events.jsonl", {"time": round(time.time(), 3), "step": step, "event": event, **more}
    )


def run_steps(steps: Iterable[Step]) -> None:
    """Steps one after the other in this process, without Beam."""
    for step in steps:
        step.run_here()
