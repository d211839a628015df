"""Processes that do what they are told, and can be stopped or killed at a point that is the same each time.

A point is a commit: a file gets its name, or is put into a store. Between two of them nobody sees a change, so to stop
before each of them is to stop at every moment that matters. Point 0 is before the work begins, `AFTER` when it is done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Literal

from dolma_pipeline.storage.object_bucket import Bucket
from tests.chaos.phases import Phase

PATIENCE_SECONDS = 90
AFTER = -1

Verb = Literal["tasks", "work", "finish"]
How = Literal["pause", "die"]


@dataclass(frozen=True)
class Order:
    """What a worker is to do. stop: the point at which it pauses or dies; None: nowhere."""

    phase: Phase
    verb: Verb
    task: str = ""
    stop: int | None = None
    how: How = "pause"


class Failed(Exception):
    """What a worker was told to do raised: the kind of error and its words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


class Worker:
    """A copy of this process that waits for orders. Make it before this process has started any thread."""

    def __init__(self, folder: str) -> None:
        self.pipe, theirs = Pipe()
        parent = os.getpid()
        self.process = os.fork()
        if self.process == 0:
            self.pipe.close()
            try:
                _obey(theirs, folder, parent)
            finally:
                os._exit(1)
        theirs.close()
        self.commits = 0

    def begin(self, order: Order) -> None:
        """Give an order; whoever gave it hears of it with `paused`, `died` or `end`."""
        self.pipe.send(order)

    def paused(self) -> None:
        """Wait until the worker stands at its point."""
        kind, *rest = self._hear()
        assert kind == "paused", (kind, rest)

    def go(self) -> None:
        """Let it go on."""
        self.pipe.send("go")

    def end(self) -> Any:
        """Wait until it is done; gives the tasks, where they were asked for.

        Raises:
            Failed: it raised.
        """
        kind, *rest = self._hear()
        if kind == "failed":
            raise Failed(*rest)
        assert kind == "done", (kind, rest)
        result, self.commits = rest
        return result

    def do(self, order: Order) -> Any:
        """Give an order and wait for its end."""
        self.begin(order)
        return self.end()

    def died(self) -> bool:
        """Wait until it is killed; False if it came to its end without coming to the point where it was to die."""
        try:
            self.end()
        except EOFError:
            self._buried()
            return True
        return False

    def dismiss(self) -> None:
        """End it, whatever it does."""
        os.kill(self.process, signal.SIGKILL)
        self._buried()

    def _buried(self) -> None:
        _, status = os.waitpid(self.process, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, status
        self.pipe.close()

    def _hear(self) -> tuple[Any, ...]:
        assert self.pipe.poll(PATIENCE_SECONDS), "a worker says nothing"
        heard: tuple[Any, ...] = self.pipe.recv()
        return heard


class _Gate:
    """Counts the commits of a worker below a folder, and stops it before one of them."""

    def __init__(self, pipe: Connection, folder: str, parent: int) -> None:
        self.pipe, self.folder, self.parent = pipe, f"{folder}/", parent
        self.order: Order | None = None
        self.commits = 0
        os.replace = self._watched(os.replace)  # type: ignore[assignment]
        os.link = self._watched(os.link)  # type: ignore[assignment]
        Bucket.put = self._put(Bucket.put)  # type: ignore[method-assign]
        Bucket.create = self._put(Bucket.create)  # type: ignore[method-assign]

    def _watched(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: Any, target: Any, **options: Any) -> Any:
            self._commit(str(target))
            return commit(source, target, **options)

        return call

    def _put(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        def call(bucket: Bucket, key: str, *more: Any) -> Any:
            self._commit(bucket.url(key))
            return commit(bucket, key, *more)

        return call

    def _commit(self, target: str) -> None:
        if target.startswith(self.folder):
            self.commits += 1
            self.at(self.commits)

    def at(self, point: int) -> None:
        """The worker comes to a point."""
        if self.order is None or point != self.order.stop:
            return
        if self.order.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.pipe.send(("paused", point))
        assert self.hear() == "go"

    def hear(self) -> Any:
        """The next order. Ends the process if there will be none: other workers hold copies of this pipe's end."""
        while not self.pipe.poll(1):
            if os.getppid() != self.parent:
                os._exit(1)
        return self.pipe.recv()


def _obey(pipe: Connection, folder: str, parent: int) -> None:
    """The life of a worker; it ends with its parent."""
    gate = _Gate(pipe, folder, parent)
    while True:
        order: Order = gate.hear()
        gate.order, gate.commits = order, 0
        try:
            gate.at(0)
            arguments = [order.task] if order.verb == "work" else []
            result = getattr(order.phase, order.verb)(*arguments)
            gate.at(AFTER)
        except Exception as error:  # noqa: BLE001 whatever it is, who gave the order hears of it
            pipe.send(("failed", type(error).__name__, str(error)))
        else:
            pipe.send(("done", result, gate.commits))
