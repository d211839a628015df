"""Phases as one Beam pipeline: `plan | GroupByKey | work | count`, then the count lets the next phase be planned.

Only a count crosses the barrier between phases: whether a phase is complete is decided by `perform.end`, from records.
Where tasks are many, `work | GroupByKey | compact | count`: records travel with what is counted, and thousands are
written into one file, which is what `perform.end` reads then. A whole run is one pipeline, so workers load their models
once. A runner may repeat any of these functions, at any time: a task that has its record is left out, what is finished
stays as it is.
"""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from dolma_pipeline.engines.bringing import bring_assets
from dolma_pipeline.engines.handshake import Versions, compare
from dolma_pipeline.engines.packing import num_bins, pack
from dolma_pipeline.engines.reports import COMPACT, FINISH, PLAN, PREPARE, reporting
from dolma_pipeline.run import perform
from dolma_pipeline.run.compacted import range_of, write_compacted
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.records import folder_of
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.weights import Weights

logger = logging.getLogger(__name__)


class Count(NamedTuple):
    """What was done: tasks, and the CPU seconds that they took."""

    tasks: int = 0
    cpu_seconds: float = 0.0


class Dealing(Protocol):
    """How tasks get from the plan to workers; travels with the pipeline."""

    @property
    def many(self) -> bool:
        """Whether a phase may have many elements, so that records and counts are gathered before the barrier.

        Each gathering costs the embedded runner 0.1 s of CPU.
        """

    @property
    def hints(self) -> dict[str, str]:
        """Resource hints of Beam's for the work."""

    def deal(self, phase: str, tasks: Iterator[Task]) -> list[tuple[int, Any]]:
        """Elements for workers, each with a key of its own, so that grouping spreads them; all tasks are taken."""

    def taken(self, phase: str, element: Any) -> Iterator[Task]:
        """The tasks that fall to who has this element."""

    def prepare(self, run: Run) -> None:
        """Before a process works: refuse one that would make other bytes than the launcher, get what it lacks.

        Raises:
            StageError: what differs. AssetError: a model that is not what it should be.
        """


@dataclass(frozen=True)
class Bins:
    """Elements that hold their tasks, in bins of about equal weight: for any runner, however often it repeats one.

    Args:
        launcher: what the launcher is made of; every process that works must be made of the same. None: not asked.
        hints: resource hints of Beam's for the work.
    """

    launcher: Versions | None = None
    hints: dict[str, str] = field(default_factory=dict)
    many: ClassVar[bool] = True

    def deal(self, phase: str, tasks: Iterator[Task]) -> list[tuple[int, Any]]:
        """See `Dealing`."""
        listed = list(tasks)
        # As bytes: runners encode any other object by a pickler of their own, ten times slower.
        packed = (pickle.dumps(one, protocol=pickle.HIGHEST_PROTOCOL) for one in pack(listed, num_bins(listed)))
        return list(enumerate(packed))

    def taken(self, phase: str, element: bytes) -> Iterator[Task]:
        """See `Dealing`."""
        tasks: list[Task] = pickle.loads(element)
        return iter(tasks)

    def prepare(self, run: Run) -> None:
        """See `Dealing`."""
        if self.launcher is not None:
            compare(self.launcher)
        bring_assets(run)


def chain(pipeline: Any, run: Run, phases: Sequence[Phase], dealing: Dealing) -> Any:
    """Add phases to a pipeline: between two that are spread, a single element closes the first and plans the second.

    Args:
        pipeline: where to. run: the run. phases: what is to be done. dealing: how tasks reach workers.

    Returns:
        A collection of one element that is there when all is done.
    """

    def hinted(transform: Any) -> Any:
        return transform.with_resource_hints(**dealing.hints) if dealing.hints else transform

    before, to_close = pipeline | "begin" >> beam.Create([Count()]), list[Phase]()
    for number, phase in enumerate(phases):
        if not phase.spread:
            to_close.append(phase)
            continue
        label = f"{number:02d} {phase.name}"
        settings = {"run": run, "phase": phase, "number": f"{number:02d}", "dealing": dealing}
        planned = pipeline | f"{label}: begin" >> beam.Impulse()
        planning = beam.FlatMap(plan, beam.pvalue.AsIter(before), closing=to_close, **settings)
        planned |= f"{label}: plan" >> hinted(planning)
        dealt = planned | f"{label}: spread" >> beam.GroupByKey()
        if dealing.many:
            done = dealt | f"{label}: work" >> hinted(beam.FlatMap(worked, **settings))
            done |= f"{label}: gather" >> beam.GroupByKey()
            done |= f"{label}: compact" >> beam.Map(compact, run=run, phase=phase)
            before = done | f"{label}: count" >> beam.CombineGlobally(total)
        else:
            before = dealt | f"{label}: work" >> beam.FlatMap(work, **settings)
        to_close = [phase]
    last = beam.Map(close, beam.pvalue.AsIter(before), run=run, closing=to_close, dealing=dealing)
    return pipeline | "end" >> beam.Impulse() | "close" >> hinted(last)


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
    close(_, before, run=run, closing=closing, dealing=dealing)
    with reporting(run, phase, PLAN):
        dealing.prepare(run)
        elements = dealing.deal(number, (planned := Weights()).seen(perform.begin(run, phase)))
        perform.begun(run, phase, planned)
        return elements


def close(_: bytes, before: Iterable[Count], *, run: Run, closing: Sequence[Phase], dealing: Dealing) -> Count:
    """End a spread phase whose tasks are done, and do whole those that are not spread."""
    done = total(before)
    for phase in closing:
        with reporting(run, phase, FINISH):
            dealing.prepare(run)
            if phase.spread:
                perform.end(run, phase, cpu_seconds=done.cpu_seconds)
            else:
                perform.whole(run, phase)
    return done


def work(dealt: tuple[int, Iterable[Any]], *, run: Run, phase: Phase, number: str, dealing: Dealing) -> Iterator[Count]:
    """Do the tasks that fall to this worker; gives how much that was."""
    yield total(Count(1, done.cpu_seconds) for _, done in _each(dealt, run, phase, number, dealing))


def worked(
    dealt: tuple[int, Iterable[Any]], *, run: Run, phase: Phase, number: str, dealing: Dealing
) -> Iterator[tuple[int, tuple[int, float, bytes]]]:
    """Do the tasks that fall to this worker; gives for each range of tasks how much that was, and the records."""
    made: dict[int, tuple[list[float], list[bytes]]] = {}
    for task, done in _each(dealt, run, phase, number, dealing):
        seconds, records = made.setdefault(range_of(task.number), ([], []))
        seconds.append(done.cpu_seconds)
        records.append(done.record)
    for place, (seconds, records) in made.items():
        yield place, (len(records), sum(seconds), b"\n".join(records))


def _each(
    dealt: tuple[int, Iterable[Any]], run: Run, phase: Phase, number: str, dealing: Dealing
) -> Iterator[tuple[Task, perform.Done]]:
    at, counted = PREPARE, functools.partial(_counter, phase.name)
    with reporting(run, phase, lambda: at):
        dealing.prepare(run)
        for element in dealt[1]:
            documents = num_bytes = 0
            for task in dealing.taken(number, element):
                at = task.key
                logger.info("%s, %s", phase.name, at)  # before: a process that is killed has told what it was at
                done = perform.work(run, phase, task)
                documents, num_bytes = documents + done.documents, num_bytes + done.num_bytes
                yield task, done
                at = PREPARE
            counted("documents").inc(documents)
            counted("bytes").inc(num_bytes)
        perform.flush(run)


@functools.cache
def _counter(phase: str, what: str) -> Any:
    """What a runner's own pages show beside the phase; a repeated task counts again, so nothing depends on it."""
    return Metrics.counter("dolma_pipeline", f"{phase}: {what}")


def compact(gathered: tuple[int, Iterable[tuple[int, float, bytes]]], *, run: Run, phase: Phase) -> Count:
    """Write the records of a range of tasks into one file; gives how much there was to do."""
    place, made = gathered[0], list(gathered[1])
    with reporting(run, phase, COMPACT):
        records = (record for _, _, joined in made for record in joined.split(b"\n"))  # JSON has no line break in it
        write_compacted(run.folder, folder_of(run, phase), place, records)
    return total(Count(tasks, seconds) for tasks, seconds, _ in made)


def total(counts: Iterable[Count]) -> Count:
    """The sum of counts; of sums, too."""
    num_tasks, seconds = 0, 0.0
    for count in counts:
        num_tasks, seconds = num_tasks + count.tasks, seconds + count.cpu_seconds
    return Count(num_tasks, seconds)
