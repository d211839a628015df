"""A plain loop in this process: for tests, notebooks and measuring. No Beam.

Run, phases, tasks and results are pickled on their way, as in every other engine, so that what cannot travel is
found here. Under test it does to a run what real engines do: tasks in any order, done twice, late copies after the
end, every plan and finish repeated.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from dolma_pipeline.engines.bringing import bring_assets
from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.logs import join_logs, keeping_logs
from dolma_pipeline.engines.reports import FINISH, PLAN, explained
from dolma_pipeline.errors import RunError
from dolma_pipeline.run import perform
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.weights import Weights

T = TypeVar("T")


@dataclass(frozen=True)
class Here:
    """The plain loop.

    Args:
        seed: shuffles tasks, and draws which are repeated; None: tasks in their order.
        repeated: share of the tasks that are done twice in a row and once more after everything has ended.
        again: every plan and every finish is asked for twice, and once more after everything has ended.
    """

    seed: int | None = None
    repeated: float = 0.0
    again: bool = False

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """See `Engine.run`.

        Raises:
            RunError: with `again`, also a plan that is another one when it is asked for again.
        """
        if not phases:
            return
        with keeping_logs(lambda: _keep(run)):
            self.loop(run, phases, say=say)

    def loop(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """The loop alone, for an engine that keeps logs by itself."""
        bring_assets(run)
        draw, late = random.Random(self.seed), list[tuple[Phase, Task]]()
        for number, phase in enumerate(phases, 1):
            if say:
                say(f"[{number}/{len(phases)}] {phase.name}")
            late += self._phase(travelled(run), travelled(phase), draw)
        for phase, task in late:
            with explained(run, phase, task.key):
                perform.work(run, phase, task, again=True)
        for phase in phases if self.again else ():
            _ask_again(run, phase)

    def _phase(self, run: Run, phase: Phase, draw: random.Random) -> list[tuple[Phase, Task]]:
        """One phase; gives the tasks whose late copies are to come."""
        with explained(run, phase, PLAN):
            tasks = list((planned := Weights()).seen(perform.begin(run, phase)))
            if self.again and [task.key for task in perform.begin(run, phase)] != [task.key for task in tasks]:
                raise RunError(f"{phase.name}: its plan is another one when it is asked for again.")
            perform.begun(run, phase, planned)
        if self.seed is not None:
            draw.shuffle(tasks)
        seconds, late = 0.0, list[tuple[Phase, Task]]()
        for task in tasks:
            with explained(run, phase, task.key):
                seconds += travelled(perform.work(run, phase, travelled(task))).cpu_seconds
                if draw.random() < self.repeated:
                    perform.work(run, phase, travelled(task), again=True)
                    late.append((phase, task))
        for _ in range(2 if self.again else 1):
            with explained(run, phase, FINISH):
                perform.end(run, phase, cpu_seconds=seconds)
        return late


def travelled(value: T) -> T:
    """What arrives on the other side."""
    arrived: T = pickle.loads(pickle.dumps(value))
    return arrived


def _keep(run: Run) -> None:
    perform.flush(run)
    join_logs(run.folder)


def _ask_again(run: Run, phase: Phase) -> None:
    """A plan and a finish that come after the end of everything."""
    with explained(run, phase, PLAN):
        if left := [task.key for task in perform.begin(run, phase)]:
            raise RunError(f"{phase.name}: planned again after its end, {len(left)} tasks are left: {left[0]}, …")
    with explained(run, phase, FINISH):
        perform.end(run, phase)
