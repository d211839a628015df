"""Segments of logs joined into whole files: log/events.jsonl, log/raised.jsonl, log/workers.txt. For launchers."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator
from operator import itemgetter

import orjson

from dolma_pipeline.errors import RunError
from dolma_pipeline.run import layout
from dolma_pipeline.run.log import EVENTS, PROGRESS, RAISED
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.folder import RunFolder

EVENTS_FILE = f"{layout.LOG}/events.jsonl"
RAISED_FILE = f"{layout.LOG}/raised.jsonl"
WORKERS_FILE = f"{layout.LOG}/workers.txt"


def join_logs(folder: RunFolder, *, segments: RunFolder | None = None, workers: bytes = b"") -> None:
    """Append what processes have left to a run's logs, in order of time, and remove the segments.

    What the run before raised is replaced by what this one raised, if it did; progress is not kept.

    Args:
        folder: the run's. segments: where the segments are; default the run's folder.
        workers: what worker processes wrote to standard error.
    """
    segments = segments or folder
    streams = {name: f"{layout.LOG}/{name}" for name in (EVENTS, RAISED, PROGRESS)}
    _append(folder, EVENTS_FILE, _in_time(segments, streams[EVENTS]))
    raised = list(_in_time(segments, streams[RAISED]))
    if raised:
        folder.write(RAISED_FILE, b"".join(raised))
    else:
        folder.delete([RAISED_FILE])
    if workers:
        _append(folder, WORKERS_FILE, iter([workers]))
    for under in streams.values():
        segments.delete_tree(under)


@contextlib.contextmanager
def keeping_logs(keep: Callable[[], None]) -> Iterator[None]:
    """Calls `keep` after the block, however it ends; that logs cannot be kept does not hide why the block failed."""
    try:
        yield
    except BaseException as error:
        try:
            keep()
        except RunError as lost:
            error.add_note(f"The logs of this run could not be kept: {lost}")
        raise
    keep()


def _append(folder: RunFolder, name: str, more: Iterator[bytes]) -> None:
    first = next(more, None)
    if first is None:
        return
    with folder.committing(name) as file:
        if folder.stat(name) is not None:
            _copy(folder, name, file)
        file.write(first)
        for one in more:
            file.write(one)


def _copy(folder: RunFolder, name: str, file: Committed) -> None:
    with folder.stream(name) as before:
        while piece := before.read(1 << 20):
            file.write(piece)


def _in_time(segments: RunFolder, under: str) -> Iterator[bytes]:
    """Lines of all processes, by time; each process has written its own in order."""
    processes = dict.fromkeys(entry.name.rpartition("/")[0] for entry in segments.list(under))
    if len(processes) == 1:  # in order as it is
        for process in processes:
            for entry in segments.list(process):
                yield segments.read(entry.name)
        return
    for _, line in heapq.merge(*(_lines(segments, process) for process in processes), key=itemgetter(0)):
        yield line + b"\n"


def _lines(segments: RunFolder, process: str) -> Iterator[tuple[float, bytes]]:
    for entry in segments.list(process):
        for line in segments.read(entry.name).splitlines():
            yield orjson.loads(line)["time"], line
