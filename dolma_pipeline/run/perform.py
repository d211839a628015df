"""A phase begun, a task done, a phase ended: what every engine does, the same way, however often it does it."""

from __future__ import annotations

import time
from typing import NamedTuple

from dolma_pipeline.run.manifests import is_finished
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import cover, done_tasks, is_done, read_records, write_record
from dolma_pipeline.run.run import Run


class Done(NamedTuple):
    """A finished task: its phase, its key, the CPU seconds that it took."""

    phase: str
    task: str
    cpu_seconds: float


def begin(run: Run, phase: Phase) -> list[Task]:
    """What is left of a phase. Repeated at any time: when its artifacts are finished there is nothing."""
    if _is_over(run, phase):
        return []
    Process.of(run)
    cover(run, phase)
    done = done_tasks(run, phase)
    return [task for task in phase.tasks(run) if task.key not in done]


def work(run: Run, phase: Phase, task: Task) -> Done:
    """Do a task, unless it is done; its record is written after its files."""
    with Process.lock:
        process = Process.of(run)
        start = time.process_time()
        if not is_done(run, phase, task):
            done = phase.work(process, task)
            write_record(run, phase, task, done)
        seconds = time.process_time() - start
        process.log.event(phase.name, "task", key=task.key, cpu_seconds=round(seconds, 3))
        process.log.flush()
        return Done(phase.name, task.key, seconds)


def end(run: Run, phase: Phase) -> None:
    """Close a phase whose tasks are done. Repeated at any time: what is finished is left as it is.

    Raises:
        RunError: a task is not done.
    """
    if _is_over(run, phase):
        return
    Process.of(run)
    tasks = list(phase.tasks(run))
    records = read_records(run, phase, tasks)
    phase.finish(run, records)
    for _ in records:
        pass  # every task must have its record, whether or not the phase looks at it


def _is_over(run: Run, phase: Phase) -> bool:
    return bool(phase.artifacts) and all(is_finished(run.folder, one, run.shards_digest) for one in phase.artifacts)
