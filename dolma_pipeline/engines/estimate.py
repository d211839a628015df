"""How far the phase at work is, and how long it still takes: from rows of a run's log, whoever reads them.

Tasks differ in size, and kinds of them (sources) in what a byte costs, so done tasks alone tell little. Finished tasks
tell what a task of their kind costs, and what its weight costs, in CPU seconds (least squares); what is at work counts
by its bytes of text, where tasks tell of these; and the time that all this took tells how long the rest takes. Time
counts from the first sign of work, for workers load their models before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dolma_pipeline.run.log import EVENTS, PROGRESS
from dolma_pipeline.run.weights import group_of

SURE_SECONDS = 60.0
"""After so long, what is done tells how long the rest takes."""
SURE_SHARE = 0.1
"""And from such a share of the tasks on."""
SURE_TASKS = 2
"""So many finished tasks of a kind tell what it costs; else all kinds together do."""
FITTED_TASKS = 8
"""So many tell what a task costs whatever its weight."""


@dataclass
class Kind:
    """Tasks of one kind. tasks, weight: of all. done, done_weight, done_cost: of finished ones; then their sums."""

    tasks: int = 0
    weight: int = 0
    done: int = 0
    done_weight: int = 0
    done_cost: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def add(self, weight: int, cost: float) -> None:
        """A task that is finished."""
        self.done += 1
        self.done_weight += weight
        self.done_cost += cost
        self.squares += weight * weight
        self.products += weight * cost

    def cost_left(self, usual: float) -> float:
        """What the other tasks will cost. usual: the cost of a weight of 1 where too few of this kind are finished."""
        weight = max(0, self.weight - self.done_weight)
        if self.done < SURE_TASKS or not self.done_weight:
            return usual * weight
        each, by_weight = 0.0, self.done_cost / self.done_weight
        spread = self.done * self.squares - self.done_weight**2
        if self.done >= FITTED_TASKS and spread > 1e-9 * self.done * self.squares:
            slope = (self.done * self.products - self.done_weight * self.done_cost) / spread
            fixed = (self.done_cost - slope * self.done_weight) / self.done
            if slope >= 0 and fixed >= 0:
                each, by_weight = fixed, slope
        return each * max(0, self.tasks - self.done) + by_weight * weight


@dataclass
class Amounts:
    """What is known of a phase.

    Attributes:
        begun: when the row of its begin was read, in seconds of any clock. begun_at: the time that the row tells.
        warm: seconds from then to the first sign of work, by the times that rows tell. tasks: all of them.
        documents, num_bytes: worked on so far. done: tasks; done_bytes: theirs. kinds: by group.
    """

    begun: float | None = None
    begun_at: float = 0.0
    warm: float | None = None
    tasks: int = 0
    documents: int = 0
    num_bytes: int = 0
    done: int = 0
    done_bytes: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)

    def begin(self, row: Mapping[str, Any], now: float) -> None:
        """Take the row of its begin."""
        self.begun, self.begun_at, self.tasks = now, row["time"], row.get("tasks", 0)
        groups = row.get("groups") or {"": (self.tasks, row.get("weight", self.tasks))}
        self.kinds = {group: Kind(tasks, weight) for group, (tasks, weight) in groups.items()}

    def finished(self, row: Mapping[str, Any]) -> None:
        """Take the row of a task that was done."""
        kind = self.kinds.get(group_of(row["key"])) or self.kinds.setdefault("", Kind())
        kind.add(row.get("weight", 1), max(row.get("cpu_seconds", 0.0), 1e-3))  # less is not told
        self.done += 1
        self.done_bytes += row.get("bytes", 0)

    def seconds_left(self, now: float) -> float | None:
        """How long it still takes; None as long as nobody can tell, and when all tasks are done."""
        if self.begun is None or not 0 < self.done < self.tasks:
            return None
        seconds = now - self.begun
        if seconds < SURE_SECONDS and self.done < self.tasks * SURE_SHARE:
            return None
        kinds = self.kinds.values()
        cost = sum(kind.done_cost for kind in kinds)
        usual = cost / max(1, sum(kind.done_weight for kind in kinds))
        left = sum(kind.cost_left(usual) for kind in kinds)
        at_work = max(0.0, self.num_bytes / self.done_bytes - 1) * cost if self.done_bytes else 0.0
        at_work = min(at_work, left)
        return max(0.0, seconds - (self.warm or 0.0)) * (left - at_work) / (cost + at_work)


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
            amounts.begin(row, now)
        elif stream == EVENTS and row["event"] == "task":
            amounts.finished(row)
