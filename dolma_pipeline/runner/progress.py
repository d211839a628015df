"""What people see while a run works: documents, MB/s and time left, from what workers append to log/progress/."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import orjson

from dolma_pipeline.stages.context import RunContext

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0
SHOW_SECONDS = 0.5
RATE_SECONDS = 1.0
"""A step is watched this long before a rate is shown."""


class Progress:
    """Tails the workers' logs; a live line on a terminal, a plain line every 10 seconds elsewhere, on stderr."""

    def __init__(self, context: RunContext, steps: Sequence[str], *, quiet: bool) -> None:
        self.context, self.steps, self.quiet = context, list(steps), quiet
        self.folder = context.path / "log" / "progress"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.offsets: dict[str, int] = {}
        self.events_at = self._events_size()
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

    def _events_size(self) -> int:
        path = self.context.path / "log" / "events.jsonl"
        return path.stat().st_size if path.is_file() else 0

    def poll(self) -> None:
        """Read what is new and show it when it is time."""
        now = time.monotonic()
        if self.quiet or now - self.polled < SHOW_SECONDS:
            return
        self.polled = now
        self._read_events()
        self._read_progress()
        if self.terminal:
            print(f"\r\x1b[2K{self._line()}", end="", file=sys.stderr, flush=True)
        elif now - self.shown >= LINE_SECONDS:
            self.shown = now
            print(self._line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the live line away; tell (-v) of the steps since the last look."""
        if not self.quiet:
            self._read_events()
        if self.terminal and not self.quiet:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def _new_rows(self, path: Any, offset: int) -> tuple[list[dict[str, Any]], int]:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        return [orjson.loads(line) for line in whole.splitlines()], offset + len(whole)

    def _read_events(self) -> None:
        path = self.context.path / "log" / "events.jsonl"
        if not path.is_file():
            return
        rows, self.events_at = self._new_rows(path, self.events_at)
        for row in rows:
            if row["event"] == "begin":
                self.current = row["step"]
                self.begun[row["step"]] = time.monotonic()
                self.tasks[row["step"]] = row.get("tasks", 0)
                logger.debug("%s begins, tasks: %d", row["step"], row.get("tasks", 0))
            elif row["event"] == "task":
                self.done[row["step"]] = self.done.get(row["step"], 0) + 1

    def _read_progress(self) -> None:
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            rows, self.offsets[path.name] = self._new_rows(path, self.offsets.get(path.name, 0))
            for row in rows:
                total = self.totals.setdefault(row["step"], [0, 0])
                total[0] += row["documents"]
                total[1] += row["bytes"]

    def _line(self) -> str:
        step = self.current
        documents, num_bytes = self.totals.get(step, [0, 0])
        seconds = max(1e-9, time.monotonic() - self.begun.get(step, time.monotonic()))
        place = f"[{self.steps.index(step) + 1}/{len(self.steps)}] " if step in self.steps else ""
        done, tasks = self.done.get(step, 0), self.tasks.get(step, 0)
        if step and tasks <= 1 and not documents:  # one long task, as training the tokenizer: nothing to count
            return f"{place}{step}: working, {seconds:.0f} s"
        # Both would be far off at first: bytes are told of before the clock has moved, and tasks differ in size.
        left = f", about {seconds * (tasks - done) / done:.0f} s left" if tasks > done >= tasks / 10 > 0 else ""
        rate = f", {num_bytes / 1e6 / seconds:.1f} MB/s" if num_bytes and seconds >= RATE_SECONDS else ""
        return f"{place}{step or 'starting'}: {documents:,} documents{rate}, {done}/{tasks} tasks{left}"
