"""A step: work that can be cut into tasks, between two barriers.

`tasks()` looks at the run's folder and says what is left to do; `work(task)` does one of them, anywhere, and leaves
files; `finish()` runs once after all. A step travels to workers, so it holds names and settings, never data.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dolma_pipeline.stages.context import RunContext


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of a step: its key within the step, and its weight (bytes, roughly) for packing."""

    key: str
    weight: int = 1


@dataclass(frozen=True)
class Step(ABC):
    """One kind of work over many tasks; subclasses are frozen dataclasses.

    Each `work` must give the same files whoever does it and however often it is repeated.
    """

    context: RunContext

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
    def tasks(self) -> list[Task]:
        """What is left to do, in a fixed order."""

    @abstractmethod
    def work(self, task: Task) -> None:
        """Do one task."""

    def finish(self) -> None:
        """Once, after all tasks; must bear being repeated. A step that leaves only its tasks' files needs none."""
        return

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
