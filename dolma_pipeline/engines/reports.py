"""What a phase raises, on its way from a worker to the launcher.

A runner tells of it only when all bundles have ended, in pages of its own; here it is written to a log segment at
once, and comes out as the error that it was, with its phase and task.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dolma_pipeline import errors
from dolma_pipeline.errors import DolmaError, StageError, UsageError
from dolma_pipeline.run.log import RAISED, LogSegments, read_segments
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.folder import RunFolder

PLAN, FINISH, PREPARE, COMPACT = "plan", "finish", "prepare", "compact"
"""What stands for a task where something other than a task raised."""


@contextlib.contextmanager
def reporting(run: Run, phase: Phase, task: str | Callable[[], str]) -> Iterator[None]:
    """Leaves what is raised in the block in the stream `raised` before it goes on; an interrupt is not noted.

    task: which, or what tells it where the block does several.
    """
    try:
        yield
    except Exception as error:
        segments = LogSegments(run)  # of its own: it may be the process's place that could not be made
        segments.add(RAISED, **_row(phase.name, task if isinstance(task, str) else task(), error))
        segments.flush()
        raise


@contextlib.contextmanager
def explained(run: Run, phase: Phase, task: str) -> Iterator[None]:
    """Turns what is raised in the block into the error that people see, and leaves it as `reporting` does."""
    try:
        with reporting(run, phase, task):
            yield
    except Exception as error:
        raise as_error(_row(phase.name, task, error)) from error


def _row(phase: str, task: str, error: Exception) -> dict[str, Any]:
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return {
        "time": time.time(),
        "step": phase,
        "task": task,
        "error": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(type(error), error, trace)),
    }


def first_raised(folder: RunFolder) -> Mapping[str, Any] | None:
    """The first thing that was raised, from the segments in a folder; None if nothing was."""
    return min(read_segments(folder, RAISED), key=lambda row: row["time"], default=None)


def as_error(row: Mapping[str, Any]) -> DolmaError:
    """The error that a row tells of: one of this library's keeps its kind, others come with their traceback.

    Wrong use that shows in the midst of work ends with 1, as all that fails then: 2 says that nothing was started.
    """
    place = f"{row['step']}, {row['task']}: " if row["task"] not in (PLAN, FINISH, PREPARE, COMPACT) else ""
    kind = getattr(errors, row["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, DolmaError)):
        return StageError(f"{place}{row['error']}: {row['message']}\n{row['traceback']}")
    # Some kinds build their message from parts that are gone; the copy is of that kind and takes the message.
    plain = {"__init__": DolmaError.__init__, "__reduce__": DolmaError.__reduce__}
    exit_code = DolmaError.exit_code if issubclass(kind, UsageError) else kind.exit_code
    error: DolmaError = type(row["error"], (kind,), plain | {"exit_code": exit_code})(f"{place}{row['message']}")
    return error
