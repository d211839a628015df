"""A phase: work that can be cut into tasks, between two barriers.

`tasks` says what there is to do, `work` does one task, anywhere, and leaves files; `finish` runs once after all.
Engines repeat work, plans and finishes, late or at once, so (rules R1 to R5):

- files appear whole or not at all, and every copy of a task writes the same bytes;
- what exists is read from records, never found by looking; a missing file is an error that names it;
- nobody here deletes anything;
- a manifest is written once, and `tasks` of a finished artifact is empty (`perform.begin` sees to that).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dolma_pipeline.run.artifact import Artifact, digest

if TYPE_CHECKING:
    from dolma_pipeline.run.process import Process
    from dolma_pipeline.run.run import Run


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of a phase, with all that it needs: no worker holds the list of shards.

    key: unique within the phase, a relative name. weight: bytes, roughly. payload: what the work needs, picklable.
    number: its place among all tasks of its phase, which `perform.begin` gives it.
    """

    key: str
    weight: int = 1
    payload: Any = None
    number: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.key, self.weight, self.payload, self.number)  # a third of what slots cost by themselves


@dataclass(frozen=True)
class Work:
    """What a task has done.

    records: artifact's name -> its records, each with `shard` (or the name of a part), as `shards.jsonl` will have
        them. more: what a later phase must know, plain JSON. documents, num_bytes: worked on, for progress and speed.
    files: names of files that later phases need and of which `records` do not tell (work files, caches); where one of
        them, or an output of `records`, is gone when a run goes on, the task is done again.
    """

    records: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    documents: int = 0
    num_bytes: int = 0
    files: Sequence[str] = ()


Record = Mapping[str, Any]
"""A done record as it is stored: task, records, more, files, documents, bytes."""


@dataclass(frozen=True)
class Phase(ABC):
    """One kind of work over many tasks; subclasses are frozen dataclasses that hold names and settings, never data.

    Args:
        artifacts: what it works on; if all of them are finished there is nothing to do.
    """

    artifacts: tuple[Artifact, ...] = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """What people read in progress and errors, e.g. `mix/plan`."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of artifacts and marks that must be made before."""
        return frozenset()

    @property
    def makes(self) -> frozenset[str]:
        """Names of artifacts and marks that are made when it is finished. A mark is any other name, e.g. `mix/plan`."""
        return frozenset({self.name})

    @property
    def spread(self) -> bool:
        """Whether tasks are spread over workers; a phase of one small task is done where the plan is."""
        return True

    @property
    def reads_text(self) -> bool:
        """Whether it opens inputs; its artifacts have a record a shard."""
        return False

    @property
    def in_launcher(self) -> bool:
        """Whether it is done by the launcher itself, after all others: training and evaluation have processes of their
        own."""
        return False

    @property
    def digest(self) -> str:
        """What its records depend on."""
        of_artifacts = [
            [one.name, one.whole_digest, *(["remembers"] if one.remembers else [])] for one in self.artifacts
        ]
        return digest([self.name, of_artifacts])

    @abstractmethod
    def tasks(self, run: Run) -> Iterable[Task]:
        """All tasks, in a fixed order, the same whenever it is asked before the phase is finished."""

    @abstractmethod
    def work(self, process: Process, task: Task) -> Work:
        """Do one task; `process.run` is the run."""

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Once, after all tasks: close artifacts. Idempotent. A phase whose files are enough needs none.

        Args:
            records: those of all its tasks, in the order of the tasks; streamed.
        """
        return


class OneTask(Phase):
    """A phase of one small task, done where the next one is planned: what is about all of something at once."""

    @property
    def spread(self) -> bool:
        """No."""
        return False

    def tasks(self, run: Run) -> Iterable[Task]:
        """The one task."""
        yield Task("all")
