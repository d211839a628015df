"""What people see while a run works: documents, MB/s and time left, from the segments that workers leave."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.estimate import Estimate
from dolma_pipeline.run import layout
from dolma_pipeline.run.log import EVENTS, PROGRESS
from dolma_pipeline.storage.folder import RunFolder

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0
SHOW_SECONDS = 0.5
ELSEWHERE_SECONDS = 5.0
"""How often a folder is looked into where a look is a request to a store."""
LOOKS_SHARE = 20
"""Times as long as a look took, the next one waits."""
RATE_SECONDS = 1.0
"""A phase is watched this long before a rate is shown."""


class Progress:
    """Follows the workers' segments; a live line on a terminal, a plain line every 10 seconds elsewhere.

    Args:
        folder: where the segments are. phases: names of all phases, in order.
        say: takes the plain lines; None: nothing is shown. The live line is on standard error.
        seconds: how often the folder is looked into.
    """

    def __init__(
        self, folder: RunFolder, phases: Sequence[str], *, say: Say | None, seconds: float = SHOW_SECONDS
    ) -> None:
        self.phases, self.say, self.seconds = list(phases), say, seconds
        self._tails = {stream: _Tail(folder, stream) for stream in (EVENTS, PROGRESS)}
        self.estimate = Estimate()
        self.shown = self.polled = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def poll(self) -> None:
        """Read what is new and show it when it is time."""
        now = time.monotonic()
        if self.say is None or now - self.polled < self.seconds:
            return
        self._read(EVENTS, PROGRESS)
        took = time.monotonic() - now
        self.polled = now + took * LOOKS_SHARE  # of a store all segments are listed: the more, the more seldom
        if self.terminal:
            print(f"\r\x1b[2K{self._line()}", end="", file=sys.stderr, flush=True)
        elif now - self.shown >= LINE_SECONDS:
            self.shown = now
            self.say(self._line())

    def close(self) -> None:
        """Take the live line away; tell (-v) of the phases since the last look."""
        if self.say is not None:
            self._read(EVENTS)
            if self.terminal:
                print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def _read(self, *streams: str) -> None:
        for stream in streams:
            for row in self._tails[stream].new():
                self.estimate.add(stream, row, time.monotonic())
                if stream == EVENTS and row["event"] == "begin":
                    logger.debug("%s begins, tasks: %d", row["step"], row.get("tasks", 0))

    def _line(self) -> str:
        now, phase = time.monotonic(), self.estimate.current
        at = self.estimate.of(phase)
        seconds = max(1e-9, now - (now if at.begun is None else at.begun))
        place = f"[{self.phases.index(phase) + 1}/{len(self.phases)}] " if phase in self.phases else ""
        if phase and at.tasks <= 1 and not at.documents:  # one long task, as training the tokenizer: nothing to count
            return f"{place}{phase}: working, {seconds:.0f} s"
        remaining = at.seconds_left(now)
        left = "" if remaining is None else f", about {remaining:.0f} s left"
        # It would be far off at first: bytes are told of before the clock has moved.
        rate = f", {at.num_bytes / 1e6 / seconds:.1f} MB/s" if at.num_bytes and seconds >= RATE_SECONDS else ""
        return f"{place}{phase or 'starting'}: {at.documents:,} documents{rate}, {at.done}/{at.tasks} tasks{left}"


@contextlib.contextmanager
def polled(progress: Progress, *, seconds: float) -> Iterator[None]:
    """Progress is shown from a thread beside the block, which stays where Ctrl-C is heard.

    seconds: between two looks at the clock.
    """
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(seconds):
            progress.poll()

    thread = threading.Thread(target=poll, daemon=True, name="progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Tail:
    """What is new in a stream.

    A process numbers its segments, so where its folder can be looked into, the next one is asked for by name and
    no segment is looked for twice; of a store all are listed.
    """

    def __init__(self, folder: RunFolder, stream: str) -> None:
        self._folder = folder
        self._place = folder.local_path()
        self._stream = f"{layout.LOG}/{stream}"
        self._next: dict[str, int] = {}
        self._seen = set[str]()

    def new(self) -> Iterator[Mapping[str, Any]]:
        """Rows of segments that were not there before; process by process."""
        contents = self._listed() if self._place is None else self._numbered(self._place / self._stream)
        for content in contents:
            yield from map(orjson.loads, content.splitlines())

    def _listed(self) -> Iterator[bytes]:
        for entry in self._folder.list(self._stream):
            if entry.name not in self._seen:
                self._seen.add(entry.name)
                yield self._folder.read(entry.name)

    def _numbered(self, place: Path) -> Iterator[bytes]:
        try:
            processes = sorted(os.listdir(place))
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
                yield content
