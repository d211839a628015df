"""Logs of many processes: segments that each process writes for itself, joined by the launcher.

A segment is a whole file, `log/<stream>/<process>/<number>.jsonl`, in the run's folder or, where the workers are on
this machine, in the folder that `DOLMA_CONTROL` names. Rows are kept in memory for some seconds at most, and for as
long as a bundle of tasks at the very most: an engine flushes at its end.
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
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.local import LocalFolder

if TYPE_CHECKING:
    from dolma_pipeline.run.run import Run

CONTROL = "DOLMA_CONTROL"
"""Environment variable: folder of this machine where workers leave segments instead of the run's folder."""
HERE_SECONDS = 0.5
"""How old a row may get where segments cost next to nothing."""
ELSEWHERE_SECONDS = 5.0
"""How old a row may get where a segment is a request to a store."""

EVENTS, PROGRESS, RAISED = "events", "progress", "raised"
"""Streams: what began and ended when and what it cost; documents and bytes worked on; what phases raised."""


class LogSegments:
    """This process's part of a run's logs.

    Attributes:
        phase: the phase that is worked on, which rows of progress name.
    """

    def __init__(self, run: Run) -> None:
        self.phase = ""
        self._run_folder = run.folder
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._rows: dict[str, list[bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._flushed = time.monotonic()

    @property
    def folder(self) -> RunFolder:
        """Where segments go: an engine may name another place after this object was made."""
        place = os.environ.get(CONTROL)
        return LocalFolder(place, durable=False) if place else self._run_folder

    def add(self, stream: str, **row: Any) -> None:
        """Note a row of a stream; it is written some time later."""
        if stream == PROGRESS and self.phase:
            row = {"step": self.phase, "time": round(time.time(), 3), **row}
        # What was raised may hold any text; the rest is in JSON's own letters, and there is much of it.
        line = json.dumps(row).encode() if stream == RAISED else orjson.dumps(row)
        self._rows.setdefault(stream, []).append(line + b"\n")
        self.flush_old()

    def event(self, phase: str, event: str, **more: Any) -> None:
        """Note which phase or task began or ended when, and what it cost."""
        self.add(EVENTS, time=round(time.time(), 3), step=phase, event=event, **more)

    def flush_old(self) -> None:
        """Write what is kept if the last writing is long enough ago."""
        age = time.monotonic() - self._flushed
        if age >= HERE_SECONDS and age >= (HERE_SECONDS if os.environ.get(CONTROL) else ELSEWHERE_SECONDS):
            self.flush()

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
