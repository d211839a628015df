"""Phases as one Beam pipeline: `plan | GroupByKey | work | count`, then the count lets the next phase be planned.

Only a count crosses the barrier between phases: whether a phase is complete is decided by `perform.end`, from records.
A whole run is one pipeline, so workers load their models once. A runner may repeat any of these functions, at any
time: a task that has its record is left out, what is finished stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import apache_beam as beam

from dolma_pipeline.engines.packing import num_bins, pack
from dolma_pipeline.engines.reports import FINISH, PLAN, PREPARE, reporting
from dolma_pipeline.run import perform
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.run import Run


class Count(NamedTuple):
    """What was done: tasks, and the CPU seconds that they took."""

    tasks: int = 0
    cpu_seconds: float = 0.0


class Dealing(Protocol):
    """How tasks get from the plan to workers; travels with the pipeline."""

    @property
    def many(self) -> bool:
        """Whether a phase may have many elements, so that their counts are summed before they cross the barrier.

        Each sum costs the embedded runner 0.1 s of CPU.
        """

    def deal(self, phase: str, tasks: Iterator[Task]) -> tuple[int, list[tuple[int, Any]]]:
        """The number of tasks, and elements for workers; each with a key of its own, so that grouping spreads them."""

    def taken(self, phase: str, element: Any) -> Iterator[Task]:
        """The tasks that fall to who has this element."""


class Bins:
    """Elements that hold their tasks, in bins of about equal weight: for any runner, however often it repeats one."""

    many = True

    def deal(self, phase: str, tasks: Iterator[Task]) -> tuple[int, list[tuple[int, Any]]]:
        """See `Dealing`."""
        listed = list(tasks)
        return len(listed), list(enumerate(pack(listed, num_bins(listed))))

    def taken(self, phase: str, element: Sequence[Task]) -> Iterator[Task]:
        """See `Dealing`."""
        return iter(element)


def chain(pipeline: Any, run: Run, phases: Sequence[Phase], dealing: Dealing) -> Any:
    """Add phases to a pipeline: between two that are spread, a single element closes the first and plans the second.

    Args:
        pipeline: where to. run: the run. phases: what is to be done. dealing: how tasks reach workers.

    Returns:
        A collection of one element that is there when all is done.
    """
    before, to_close = pipeline | "begin" >> beam.Create([Count()]), list[Phase]()
    for number, phase in enumerate(phases):
        if not phase.spread:
            to_close.append(phase)
            continue
        label = f"{number:02d} {phase.name}"
        settings = {"run": run, "phase": phase, "number": f"{number:02d}", "dealing": dealing}
        planned = pipeline | f"{label}: begin" >> beam.Impulse()
        planned |= f"{label}: plan" >> beam.FlatMap(plan, beam.pvalue.AsIter(before), closing=to_close, **settings)
        done = planned | f"{label}: spread" >> beam.GroupByKey() | f"{label}: work" >> beam.FlatMap(work, **settings)
        before = done | f"{label}: count" >> beam.CombineGlobally(total) if dealing.many else done
        to_close = [phase]
    last = beam.Map(close, beam.pvalue.AsIter(before), run=run, closing=to_close)
    return pipeline | "end" >> beam.Impulse() | "close" >> last


def plan(
    _: bytes,
    before: Iterable[Count],
    *,
    run: Run,
    closing: Sequence[Phase],
    phase: Phase,
    number: str,
    dealing: Dealing,
) -> list[tuple[int, Any]]:
    """Close the phases before, then deal out what is left of this one."""
    close(_, before, run=run, closing=closing)
    with reporting(run, phase, PLAN):
        num_tasks, elements = dealing.deal(number, perform.begin(run, phase))
        perform.begun(run, phase, tasks=num_tasks)
        return elements


def close(_: bytes, before: Iterable[Count], *, run: Run, closing: Sequence[Phase]) -> Count:
    """End a spread phase whose tasks are done, and do whole those that are not spread."""
    done = total(before)
    for phase in closing:
        with reporting(run, phase, FINISH):
            if phase.spread:
                perform.end(run, phase, cpu_seconds=done.cpu_seconds)
            else:
                perform.whole(run, phase)
    return done


def work(dealt: tuple[int, Iterable[Any]], *, run: Run, phase: Phase, number: str, dealing: Dealing) -> Iterator[Count]:
    """Do the tasks that fall to this worker; gives how much that was."""
    num_tasks, seconds = 0, 0.0
    for element in dealt[1]:
        tasks = dealing.taken(number, element)
        while True:
            with reporting(run, phase, PREPARE):
                task = next(tasks, None)
            if task is None:
                break
            with reporting(run, phase, task.key):
                seconds += perform.work(run, phase, task).cpu_seconds
            num_tasks += 1
    with reporting(run, phase, PREPARE):
        perform.flush(run)
    yield Count(num_tasks, seconds)


def total(counts: Iterable[Count]) -> Count:
    """The sum of counts; of sums, too."""
    num_tasks, seconds = 0, 0.0
    for count in counts:
        num_tasks, seconds = num_tasks + count.tasks, seconds + count.cpu_seconds
    return Count(num_tasks, seconds)
