"""Logs of many processes: segments that each process writes for itself, joined by the launcher.

A segment is a whole file, `log/<stream>/<process>/<number>.jsonl`, in the run's folder or, for workers of this
machine, in the folder that `DOLMA_CONTROL` names. Rows are kept in memory for some seconds at most; what a task did
is there when the task's record is.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from dolma_pipeline.run import layout
from dolma_pipeline.storage.folder import RunFolder, run_folder

if TYPE_CHECKING:
    from dolma_pipeline.run.run import Run

CONTROL = "DOLMA_CONTROL"
"""Environment variable: folder of this machine where workers leave segments instead of the run's folder."""
FLUSH_SECONDS = 1.0


class LogSegments:
    """This process's part of a run's logs."""

    def __init__(self, run: Run) -> None:
        place = os.environ.get(CONTROL)
        self.folder: RunFolder = run_folder(place) if place else run.folder
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._rows: dict[str, list[bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._flushed = time.monotonic()

    def add(self, stream: str, **row: Any) -> None:
        """Note a row of a stream; it is written some time later."""
        self._rows.setdefault(stream, []).append(json.dumps(row).encode() + b"\n")
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def event(self, phase: str, event: str, **more: Any) -> None:
        """Note which phase or task began or ended when, and what it cost."""
        self.add("events", time=round(time.time(), 3), step=phase, event=event, **more)

    def flush(self) -> None:
        """Write what is kept."""
        self._flushed = time.monotonic()
        for stream, rows in self._rows.items():
            if rows:
                number = self._numbers[stream] = self._numbers.get(stream, -1) + 1
                name = f"{layout.LOG}/{stream}/{self._process}/{number:06d}.jsonl"
                self.folder.write(name, b"".join(rows))
                rows.clear()

    def close(self) -> None:
        """Write what is kept, for good."""
        self.flush()


def read_segments(folder: RunFolder, stream: str, *, seen: set[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Rows of a stream's segments, process by process; `seen`: names already read, which grows."""
    for entry in folder.list(f"{layout.LOG}/{stream}"):
        if seen is not None:
            if entry.name in seen:
                continue
            seen.add(entry.name)
        for line in folder.read(entry.name).splitlines():
            yield orjson.loads(line)
