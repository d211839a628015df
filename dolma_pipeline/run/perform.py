"""A phase begun, a task done, a phase ended: what every engine does, the same way, however often it does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import is_finished
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import cover, done_tasks, find_record, read_records, write_record
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.weights import Weights


class Done(NamedTuple):
    """A finished task: its phase, its key, the CPU seconds that it took, its record as it was written.

    documents, num_bytes: worked on; 0 where it had been done before.
    """

    phase: str
    task: str
    cpu_seconds: float
    record: bytes
    documents: int = 0
    num_bytes: int = 0


def begin(run: Run, phase: Phase) -> Iterator[Task]:
    """What is left of a phase, streamed. Repeated at any time: when its artifacts are finished there is nothing."""
    if _is_over(run, phase):
        return iter(())
    Process.of(run)
    cover(run, phase)
    done = done_tasks(run, phase)
    numbered = enumerate(phase.tasks(run))
    return (Task(t.key, t.weight, t.payload, number) for number, t in numbered if t.key not in done)


def begun(run: Run, phase: Phase, planned: Weights) -> None:
    """Note that the work on planned tasks begins now; people see it."""
    log = Process.of(run).log
    log.event(phase.name, "begin", tasks=planned.tasks, weight=planned.weight, groups=planned.groups)
    log.flush()


def work(run: Run, phase: Phase, task: Task, *, again: bool = False) -> Done:
    """Do a task, unless it is done; its record is written after its files.

    Args:
        run: where. phase: of which. task: what.
        again: even if it is done, as a copy does that began before it was (engines that test repeats).
    """
    with Process.lock:
        process = Process.of(run)
        process.log.phase = phase.name
        start = time.process_time()
        record = None if again else find_record(run, phase, task)
        documents = num_bytes = 0
        if record is None:
            try:
                done = phase.work(process, task)
            except FileNotFoundError as error:
                raise _what_is_gone(run, phase, error) from error
            record = write_record(run, phase, task, done)
            documents, num_bytes = done.documents, done.num_bytes
        seconds = time.process_time() - start
        cost = {"weight": task.weight, "bytes": num_bytes, "cpu_seconds": round(seconds, 3)}
        process.log.event(phase.name, "task", key=task.key, **cost)
        return Done(phase.name, task.key, seconds, record, documents, num_bytes)


def _what_is_gone(run: Run, phase: Phase, error: FileNotFoundError) -> DataError:
    """A file that work needs and does not find is an error that says what to do."""
    if f"{run.folder.url}/{layout.CACHE}/" in str(error):
        cure = (
            f"A run's cache may be removed when it is finished; this one is not. Delete {run.folder.url}/"
            f"{layout.DONE}, too, and run again: unfinished work begins anew."
        )
    else:
        cure = "If it is an input, put it back; what the run has made itself, the same command makes again."
    return DataError(f"{phase.name} needs a file that is gone: {error}. {cure}")


def flush(run: Run) -> None:
    """Write what this process keeps of the run's logs: an engine's bundle of tasks has ended."""
    with Process.lock:
        if (process := Process.current(run)) is not None:
            process.log.flush()


def end(run: Run, phase: Phase, *, cpu_seconds: float = 0.0) -> None:
    """Close a phase whose tasks are done. Repeated at any time: what is finished is left as it is.

    Args:
        run: where. phase: which. cpu_seconds: that its tasks took in all.

    Raises:
        RunError: a task is not done. The phase has not been closed then.
    """
    with Process.lock:
        log, start = Process.of(run).log, time.process_time()
        if not _is_over(run, phase):
            _finish(run, phase)
        seconds = cpu_seconds + time.process_time() - start
        log.event(phase.name, "end", cpu_seconds=round(seconds, 3))
        log.flush()


def _finish(run: Run, phase: Phase) -> None:
    done = done_tasks(run, phase)
    tasks = [Task(task.key, task.weight) for task in phase.tasks(run)]  # without what they carry
    if left := [task.key for task in tasks if task.key not in done]:
        raise RunError(
            f"{phase.name}: {len(left)} of its {len(tasks)} tasks not done: {', '.join(left[:3])}. "
            "The same command goes on from there."
        )
    phase.finish(run, read_records(run, phase, tasks))


def whole(run: Run, phase: Phase) -> None:
    """All of a phase in this process: one that is not spread, or where there are no workers."""
    tasks = list((planned := Weights()).seen(begin(run, phase)))
    begun(run, phase, planned)
    end(run, phase, cpu_seconds=sum(work(run, phase, task).cpu_seconds for task in tasks))


def _is_over(run: Run, phase: Phase) -> bool:
    return bool(phase.artifacts) and all(is_finished(run.folder, one, run.shards_digest) for one in phase.artifacts)
