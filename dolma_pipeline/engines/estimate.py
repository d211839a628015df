"""How far the phase at work is, and how long it still takes: from rows of a run's log, whoever reads them.

Tasks differ in size and take minutes each, so done tasks alone tell little. What is counted is weight; and where tasks
tell of bytes while they are at work, the bytes of unfinished tasks count by what finished ones had for their weight.
Time counts from the first sign of work, for workers load their models before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dolma_pipeline.run.log import EVENTS, PROGRESS

SURE_SECONDS = 60.0
"""After so long, what is done tells how long the rest takes."""
SURE_SHARE = 0.1
"""And from such a share of the tasks on."""


@dataclass
class Amounts:
    """What is known of a phase.

    Attributes:
        begun: when the row of its begin was read, in seconds of any clock. begun_at: the time that the row tells.
        warm: seconds from then to the first sign of work, by the times that rows tell. tasks, weight: of all.
        documents, num_bytes: worked on so far. done: tasks. done_weight, done_bytes: of these.
    """

    begun: float | None = None
    begun_at: float = 0.0
    warm: float | None = None
    tasks: int = 0
    weight: int = 0
    documents: int = 0
    num_bytes: int = 0
    done: int = 0
    done_weight: int = 0
    done_bytes: int = 0

    def share(self) -> float:
        """How much is done, from 0 to 1."""
        finished = self.done_weight / self.weight if self.weight else 0.0
        if not self.done_bytes or not finished:
            return finished
        return min(1.0, max(finished, self.num_bytes / self.done_bytes * finished))

    def seconds_left(self, now: float) -> float | None:
        """How long it still takes; None as long as nobody can tell, and when all tasks are done."""
        share = self.share()
        if self.begun is None or not 0 < share < 1 or self.done >= self.tasks:
            return None
        seconds = now - self.begun
        if seconds < SURE_SECONDS and self.done < self.tasks * SURE_SHARE:
            return None
        return max(0.0, seconds - (self.warm or 0.0)) * (1 - share) / share


@dataclass
class Estimate:
    """Takes rows of the streams `events` and `progress`, in the order in which they come.

    Attributes:
        current: the phase that began last; "" before the first. phases: what is known of each.
    """

    current: str = ""
    phases: dict[str, Amounts] = field(default_factory=dict)

    def of(self, phase: str) -> Amounts:
        """What is known of a phase."""
        return self.phases.setdefault(phase, Amounts())

    def add(self, stream: str, row: Mapping[str, Any], now: float) -> None:
        """Take a row. now: when it was read."""
        amounts = self.of(row["step"])
        if stream == PROGRESS:
            amounts.documents += row["documents"]
            amounts.num_bytes += row["bytes"]
            if amounts.warm is None and amounts.begun is not None:
                amounts.warm = max(0.0, row["time"] - amounts.begun_at)
        elif stream == EVENTS and row["event"] == "begin":
            self.current = row["step"]
            amounts.begun, amounts.begun_at, amounts.tasks = now, row["time"], row.get("tasks", 0)
            amounts.weight = row.get("weight", amounts.tasks)
        elif stream == EVENTS and row["event"] == "task":
            amounts.done += 1
            amounts.done_weight += row.get("weight", 1)
            amounts.done_bytes += row.get("bytes", 0)
