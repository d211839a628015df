"""A Beam pipeline on the embedded runner, with workers that cannot die unheard.

Beam alone hangs when a worker process is killed, and tells of a stage that raised only when its siblings are
done. Here a dead worker or a row in the stream `raised` ends the run at once, and no worker is left behind.
Two private names of Beam 2.77 are hooked (`SubprocessSdkWorker.run`, `ControlConnection.__init__`); the pin in
pyproject.toml and a test that kills a worker guard them. Through the first, workers come from a `ForkServer`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from dolma_pipeline.engines.forks import MODULE, SERVERS, ForkServer
from dolma_pipeline.errors import DolmaError, RunError, StageError, WorkerDiedError

POLL_SECONDS = 0.1
LATE_SECONDS = 2.0
"""After an interruption, how long to look for workers that were about to start."""

ENDING_SECONDS = 1.0
"""How long a pipeline that was ended may take; one that waits for data of a worker that is gone never ends."""


def run_guarded(
    run: Callable[[], Any],
    *,
    raised: Callable[[], DolmaError | None],
    worker_log: Path,
    kept: str,
    variables: Mapping[str, str] = {},
    each_poll: Callable[[], None] = lambda: None,
    forks: ForkServer | None = None,
) -> None:
    """Run a pipeline to its end, or to its first failure.

    Args:
        run: blocks until the pipeline has ended.
        raised: what a phase has raised so far.
        worker_log: the file that gets what worker processes write to standard error, and what Beam logs.
        kept: where people find that file when the run has ended.
        variables: of the environment that workers have beside the fork server's.
        each_poll: called about ten times a second from this thread (progress).
        forks: makes the worker processes; without it Beam starts each by itself.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP.
        WorkerDiedError: a worker process ended unasked.
        DolmaError: what a phase raised, if it is one of ours; StageError for anything else.
    """
    state = _State(worker_log, variables)
    thread = threading.Thread(target=state.run, args=(run,), daemon=True, name="pipeline")
    patience = LATE_SECONDS
    with stopped_by_signals(), _hooks(state, forks), _apart(worker_log):
        try:
            thread.start()
            while not state.ended.wait(POLL_SECONDS):
                each_poll()
                if state.dead or raised():
                    patience = 0
                    break
        finally:
            state.abort()
            _kill_workers(state.ended, patience=patience)
            if state.connections:
                state.ended.wait(ENDING_SECONDS)
                _kill_workers(state.ended, patience=0)
    each_poll()
    if (error := raised()) is not None:
        raise error
    if state.dead:
        killed = "SIGKILL" in state.dead or "137" in state.dead  # as a shell tells it
        why = ", killed from outside, or out of memory" if killed else ""
        advice = " Fewer workers need less memory (workers: 1)." if killed else ""
        raise WorkerDiedError(
            f"a worker process ended unasked ({state.dead}){why}. Worker log: {kept}. "
            f"What is done stays done: the same command resumes.{advice}"
        )
    if state.error is not None:
        raise StageError(f"the pipeline failed: {state.error}. Worker log: {kept}") from state.error


class _State:
    def __init__(self, worker_log: Path, variables: Mapping[str, str]) -> None:
        self.worker_log, self.variables = worker_log, variables
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.dead = ""
        self.connections: list[Any] = []
        self.aborted = False

    def run(self, run: Callable[[], Any]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 handed to the thread that waits, whatever it is
            self.error = error
        finally:
            self.ended.set()

    def abort(self) -> None:
        if not self.aborted and not self.ended.is_set():
            self.aborted = True
            for connection in self.connections:
                connection.abort(RunError("the run was ended"))


@contextlib.contextmanager
def _hooks(state: _State, forks: ForkServer | None) -> Iterator[None]:
    from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection
    from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker

    old_run, old_init = SubprocessSdkWorker.run, ControlConnection.__init__

    def run(self: Any) -> None:
        if state.aborted:
            return
        found = "it could not be started"
        try:
            found = _run_forked(self, forks, state) if forks else _run_alone(self)
        finally:
            if found and not state.aborted and not state.ended.is_set():
                state.dead = found

    def _run_alone(worker: Any) -> str:
        worker._worker_command_line += f" >> {shlex.quote(str(state.worker_log))} 2>&1"
        try:
            old_run(worker)
        except RuntimeError as error:
            return str(error)
        return ""

    def init(self: Any) -> None:
        old_init(self)
        state.connections.append(self)

    worker_type: Any = SubprocessSdkWorker
    connection_type: Any = ControlConnection
    worker_type.run, connection_type.__init__ = run, init
    try:
        yield
    finally:
        worker_type.run, connection_type.__init__ = old_run, old_init


def _run_forked(worker: Any, forks: ForkServer, state: _State) -> str:
    """A worker from its start to its end, which is returned in words; empty if it ended well.

    The environment is what Beam's harness reads, as `SubprocessSdkWorker.run` sets it. Its log goes to standard error.
    """
    from google.protobuf import json_format

    options = worker._provision_info.provision_info.pipeline_options
    environment = {
        **state.variables,
        "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{worker._control_address}"',
        "PIPELINE_OPTIONS": json_format.MessageToJson(options),
        "WORKER_ID": worker._worker_id,
    }
    return forks.run_worker(environment, worker_log=state.worker_log)


@contextlib.contextmanager
def _apart(worker_log: Path) -> Iterator[None]:
    """What Beam says of a run that ends goes to a file: many pages, in which the one clear error would be lost."""
    logger, old_hook = logging.getLogger("apache_beam"), threading.excepthook
    handler = logging.FileHandler(worker_log, delay=True)

    def hook(raised: threading.ExceptHookArgs) -> None:
        logger.error("in thread %s", raised.thread, exc_info=raised.exc_value)

    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook, logger.propagate = old_hook, propagated
        logger.removeHandler(handler)
        handler.close()


def descendants(process: int | None = None) -> list[int]:
    """Process ids of all children, and theirs; empty where the system does not tell (no /proc)."""
    process = process or os.getpid()
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that ended in between
            for child in path.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does: what the block began is taken down.

    Only in the main thread, where Python handles signals, and only where nobody has decided otherwise (`nohup`
    ignores SIGHUP). After the first of them both are ignored until the block is left.
    """
    chosen = []
    if threading.current_thread() is threading.main_thread():
        chosen = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) == signal.SIG_DFL]

    def stop(number: int, _: FrameType | None) -> None:
        for one in chosen:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for one in chosen:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in chosen:
            signal.signal(one, signal.SIG_DFL)


def _kill_workers(ended: threading.Event, *, patience: float) -> None:
    """Kill until no worker is left. A pipeline that has not ended may start another: look for `patience` seconds.

    Processes that make workers stay, for their owners to close.
    """
    begin = time.monotonic()
    while True:
        found = [one for one in descendants() if one not in SERVERS and _is_worker(one)]
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        waits = LATE_SECONDS if found else 0 if ended.is_set() else patience
        if time.monotonic() - begin >= waits:
            return
        time.sleep(0.05)


def _is_worker(process: int) -> bool:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"apache_beam.runners.worker.sdk_worker_main" in command or MODULE.encode() in command
