"""How much there is to do of what kind: weight of tasks by the group that their keys name, for those who estimate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dolma_pipeline.run.phase import Task

MOST_GROUPS = 100
"""Sources are some; where keys name more groups, all tasks are one kind."""


def group_of(key: str) -> str:
    """The kind of a task: what stands before the first "/" of its key, mostly a source."""
    return key.partition("/")[0] if "/" in key else ""


class Weights:
    """Counts tasks and weight as tasks stream by.

    Attributes:
        tasks, weight: of all.
    """

    def __init__(self) -> None:
        self.tasks = self.weight = 0
        self._groups: dict[str, list[int]] = {}

    def seen(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """The same tasks, counted."""
        for task in tasks:
            self.tasks += 1
            self.weight += task.weight
            group = group_of(task.key)
            if group in self._groups or len(self._groups) <= MOST_GROUPS:
                counts = self._groups.setdefault(group, [0, 0])
                counts[0] += 1
                counts[1] += task.weight
            yield task

    @property
    def groups(self) -> dict[str, list[int]]:
        """Number of tasks and weight by group; empty where there are more than people would want to read."""
        return self._groups if len(self._groups) <= MOST_GROUPS else {}
