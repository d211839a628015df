"""Tasks in bins, for runners that deal whole elements."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from dolma_pipeline.run.phase import Task

BIN_BYTES = 256_000_000
"""Weight of a bin in the long run: some minutes of work, little to lose with a worker."""
MIN_BINS, MAX_BINS = 64, 100_000


def num_bins(tasks: Sequence[Task]) -> int:
    """Into how many bins: one for `BIN_BYTES` of weight, but enough for many workers, and not too many for runners."""
    return max(MIN_BINS, min(MAX_BINS, sum(max(1, task.weight) for task in tasks) // BIN_BYTES))


def heaviest_first(tasks: Sequence[Task]) -> list[Task]:
    """The order in which tasks are dealt out, so that what is dealt last is small."""
    return sorted(tasks, key=lambda task: (-task.weight, task.key))


def pack(tasks: Sequence[Task], bins: int) -> list[list[Task]]:
    """Tasks in at most so many bins of about equal weight: heaviest first, each into the lightest bin."""
    packed: list[list[Task]] = [[] for _ in range(max(1, min(bins, len(tasks))))]
    lightest = [(0, number) for number in range(len(packed))]
    for task in heaviest_first(tasks):
        weight, number = lightest[0]
        packed[number].append(task)
        heapq.heapreplace(lightest, (weight + max(1, task.weight), number))
    return [sorted(one, key=lambda task: task.key) for one in packed if one]
