"""What people see while a run works: documents, MB/s and time left, from the segments that workers leave."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from dolma_pipeline.engines.control import Control
from dolma_pipeline.engines.engine import Say
from dolma_pipeline.run import layout
from dolma_pipeline.run.log import EVENTS, PROGRESS

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0
SHOW_SECONDS = 0.5
RATE_SECONDS = 1.0
"""A phase is watched this long before a rate is shown."""


class Progress:
    """Follows the workers' segments; a live line on a terminal, a plain line every 10 seconds elsewhere.

    Args:
        control: where the segments are. phases: names of all phases, in order.
        say: takes the plain lines; None: nothing is shown. The live line is on standard error.
    """

    def __init__(self, control: Control, phases: Sequence[str], *, say: Say | None) -> None:
        self.phases, self.say = list(phases), say
        self._tails = {stream: _Tail(control, stream) for stream in (EVENTS, PROGRESS)}
        self.totals: dict[str, list[int]] = {}
        self.begun: dict[str, float] = {}
        self.tasks: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.shown = self.polled = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.current = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def poll(self) -> None:
        """Read what is new and show it when it is time."""
        now = time.monotonic()
        if self.say is None or now - self.polled < SHOW_SECONDS:
            return
        self.polled = now
        self._read_events()
        self._read_progress()
        if self.terminal:
            print(f"\r\x1b[2K{self._line()}", end="", file=sys.stderr, flush=True)
        elif now - self.shown >= LINE_SECONDS:
            self.shown = now
            self.say(self._line())

    def close(self) -> None:
        """Take the live line away; tell (-v) of the phases since the last look."""
        if self.say is not None:
            self._read_events()
            if self.terminal:
                print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def _read_events(self) -> None:
        for row in self._tails[EVENTS].new():
            phase = row["step"]
            if row["event"] == "begin":
                self.current = phase
                self.begun[phase] = time.monotonic()
                self.tasks[phase] = row.get("tasks", 0)
                logger.debug("%s begins, tasks: %d", phase, row.get("tasks", 0))
            elif row["event"] == "task":
                self.done[phase] = self.done.get(phase, 0) + 1

    def _read_progress(self) -> None:
        for row in self._tails[PROGRESS].new():
            total = self.totals.setdefault(row["step"], [0, 0])
            total[0] += row["documents"]
            total[1] += row["bytes"]

    def _line(self) -> str:
        phase = self.current
        documents, num_bytes = self.totals.get(phase, [0, 0])
        seconds = max(1e-9, time.monotonic() - self.begun.get(phase, time.monotonic()))
        place = f"[{self.phases.index(phase) + 1}/{len(self.phases)}] " if phase in self.phases else ""
        done, tasks = self.done.get(phase, 0), self.tasks.get(phase, 0)
        if phase and tasks <= 1 and not documents:  # one long task, as training the tokenizer: nothing to count
            return f"{place}{phase}: working, {seconds:.0f} s"
        # Both would be far off at first: bytes are told of before the clock has moved, and tasks differ in size.
        left = f", about {seconds * (tasks - done) / done:.0f} s left" if tasks > done >= tasks / 10 > 0 else ""
        rate = f", {num_bytes / 1e6 / seconds:.1f} MB/s" if num_bytes and seconds >= RATE_SECONDS else ""
        return f"{place}{phase or 'starting'}: {documents:,} documents{rate}, {done}/{tasks} tasks{left}"


class _Tail:
    """What is new in a stream. A process numbers its segments, so no segment is looked for twice, nor all listed."""

    def __init__(self, control: Control, stream: str) -> None:
        self._folder = control.folder
        self._stream = f"{layout.LOG}/{stream}"
        self._next: dict[str, int] = {}

    def new(self) -> Iterator[Mapping[str, Any]]:
        """Rows of segments that were not there before; process by process."""
        try:
            processes = sorted(os.listdir(self._folder.root / self._stream))
        except FileNotFoundError:
            return
        for process in processes:
            while True:
                number = self._next.get(process, 0)
                try:
                    content = self._folder.read(f"{self._stream}/{process}/{number:06d}.jsonl")
                except FileNotFoundError:
                    break
                self._next[process] = number + 1
                yield from map(orjson.loads, content.splitlines())
