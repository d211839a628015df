"""The launcher's end of `fork_server`: workers that start in milliseconds and share what it loaded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines.workers import worker_variables
from dolma_pipeline.registry import tagger_specs
from dolma_pipeline.train.processes import LIFELINE, describe

MODULE = "dolma_pipeline.engines.fork_server"
WELL = 64
"""Exit code of a worker that the launcher let go. Not 0, for a tagger's code may end its process with that."""

SERVERS: set[int] = set()
"""Process ids of the servers that this process has."""


def can_fork() -> bool:
    """Whether workers may be copies: on Linux. macOS's own libraries are not fork-safe, and Windows has no fork."""
    return sys.platform == "linux"


Use = tuple[str, Mapping[str, Any]]
"""A tagger's name and parameters."""

OTHERS_CODE = frozenset({"dolma_v1"})
"""Built-in taggers that run a class of somebody else."""


def shared_taggers(recipe: Recipe) -> list[Use]:
    """The recipe's taggers that may be loaded once for all workers: the built-in ones, of which the setup is known."""
    ours = {spec.name for spec in tagger_specs() if spec.object.__module__.startswith("taggers.")} - OTHERS_CODE
    return [(use.tagger, use.parameters) for use in (recipe.tag.taggers if recipe.tag else ()) if use.tagger in ours]


class ForkServer:
    """A process that loads what workers need and copies itself on request, from any thread; a context manager.

    Args:
        taggers: as `shared_taggers` says.
        kernels: compiled kernels that workers will use.
        tidy: workers are taken down in full at their end, for users' taggers that leave something.
    """

    def __init__(self, taggers: Sequence[Use] = (), *, kernels: Sequence[str] = (), tidy: bool = False) -> None:
        self._tidy = tidy
        self._lock = threading.Lock()
        self._workers: list[Future[str]] = []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 closed with the rest
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, orjson.dumps(taggers).decode(), *kernels],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **worker_variables(), LIFELINE: "stdin"},
        )
        SERVERS.add(self._process.pid)
        self._reader = threading.Thread(target=self._read, name="fork-server", daemon=True)
        self._reader.start()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and with it workers that are left; may be repeated."""
        if not self._said.closed:
            self._process.kill()
            self._reader.join()
            self._process.communicate()
            SERVERS.discard(self._process.pid)
            self._said.close()

    def run_worker(self, environment: Mapping[str, str], *, worker_log: Path) -> str:
        """Make a worker and wait for its end.

        Args:
            environment: variables more. worker_log: the file to which its standard error is appended.

        Returns:
            How it ended, in words; empty if it ended well.
        """
        assert self._process.stdin is not None
        with self._lock:
            if not self._reader.is_alive():
                return self._last_words()
            worker: Future[str] = Future()
            request = {
                "worker": len(self._workers),
                "environment": dict(environment),
                "worker_log": str(worker_log),
                "tidy": self._tidy,
            }
            self._workers.append(worker)
            with contextlib.suppress(BrokenPipeError):  # then the reader is about to end
                self._process.stdin.write(orjson.dumps(request) + b"\n")
                self._process.stdin.flush()
        return worker.result()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                answer = orjson.loads(line)
                code = answer["code"]
                self._workers[answer["worker"]].set_result("" if code == WELL else describe(code) or "exit code 0")
        finally:
            self._process.kill()
            with self._lock:
                for worker in self._workers:
                    if not worker.done():
                        worker.set_result(self._last_words())

    def _last_words(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return f"the process that makes workers: {describe(code) or 'ended'}{''.join(f'; {x}' for x in lines[-1:])}"
