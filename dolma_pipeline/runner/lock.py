"""One run in a folder at a time: `lock.json` says who, where, and with which job.

Who holds the lock writes it anew every minute, on the condition that it is still his. So a lock whose launcher is gone
is told from one that is held, from any machine, and a launcher whose lock was taken ends instead of writing on. A lock
is taken over
- when its process is gone, on this machine;
- when it was not written for ten minutes, and not while it is watched for longer than a minute either (no clock of
  another machine is trusted);
and never while the job that it names runs: workers of that job write here without their launcher.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from dolma_pipeline.engines.jobs import Job, job_in, state_of
from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.storage.folder import Entry, RunFolder

BEAT_SECONDS = 60.0
"""How often a lock that is held is written anew."""
STALE_SECONDS = 600.0
"""How long a lock of another machine must not have been written to be looked at as left behind."""


class RunLock:
    """Held while a run works in `folder`.

    Args:
        folder: the run's. engine: what runs there, as people are told. beat_seconds, stale_seconds: for tests.

    Raises:
        UsageError: another process or job is at work here, or the store cannot tell two who come at once apart.
        RunError (when the block ends): somebody took the lock while it was held.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        engine: str = "local",
        beat_seconds: float = BEAT_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self.folder = folder
        self._beat_seconds, self._stale_seconds = beat_seconds, stale_seconds
        self._content: dict[str, Any] = {
            "token": secrets.token_hex(16),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "start": _now(),
            "engine": engine,
        }
        self._version = ""
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    def __enter__(self) -> RunLock:
        self.folder.check_conditions()
        try:
            for _ in range(2):
                if self.folder.create(layout.LOCK, self._written()) or self._take_over():
                    found = self.folder.stat(layout.LOCK)
                    if found is not None and self._is_ours():
                        self._version = found.version
                        self._begin_to_beat()
                        return self
        except BaseException:  # a signal, a store that fails: between taking it and the block nobody else lets go
            self._ended.set()
            self._let_go()
            raise
        raise UsageError(f"{self.folder.url}/{layout.LOCK}: another run has just begun here.")

    def names(self, job: Job) -> None:
        """Note the job that works here; from now on the lock is not taken while it runs."""
        self._content["job"] = job.record()
        self._beat()

    def _written(self) -> bytes:
        return json.dumps({**self._content, "seen": _now()}).encode()

    def _take_over(self) -> bool:
        """Whether a lock that was left behind is ours now; of several who find it, it is one's."""
        found = self.folder.stat(layout.LOCK)
        if found is None:
            return False
        other = self._held_by()
        if other:
            self._refuse_if_held(other, found)
        return self.folder.replace(layout.LOCK, self._written(), found.version) is not None

    def _refuse_if_held(self, other: Mapping[str, Any], found: Entry) -> None:
        """Raise if who wrote this lock, or the job that it names, may be at work."""
        name = f"{self.folder.url}/{layout.LOCK}"
        job = job_in(other.get("job"))
        gone = is_gone(other) if _is_here(other) else self._is_left(other, found)
        who = f"process {other.get('process')} on {other.get('host')}"
        if job is None:
            if not gone:
                raise UsageError(
                    f"{name}: {who} has been at work here since {other.get('start')}. Wait for it; if it is gone, "
                    "delete that file; one that is not written for ten minutes is taken over."
                )
            return
        state = state_of(job)
        if state == "running":
            raise UsageError(
                f"{name}: {job} has been at work here since {other.get('start')}, begun by {who}"
                f"{', which is gone' if gone else ''}. Give --attach to wait for it and go on from there, or "
                "--cancel to end it."
            )
        if state == "unknown":
            raise UsageError(
                f"{name}: {job}, begun by {who}, was at work here, and it cannot be asked whether it still is. See "
                "to it by the runner's own means that it has ended, then delete that file."
            )
        if not gone:
            raise UsageError(f"{name}: {job} has ended, and {who} is about to go on. Wait for it.")

    def _is_left(self, other: Mapping[str, Any], found: Entry) -> bool:
        """Whether nobody writes a lock of another machine any more; watches it where it looks so."""
        seen = other.get("seen")
        if not isinstance(seen, str) or _age_seconds(seen) < self._stale_seconds:
            return False
        seconds = 1.5 * self._beat_seconds
        print(
            f"{self.folder.url}/{layout.LOCK} was last written {seen} by process {other.get('process')} on "
            f"{other.get('host')}; watching it for {seconds:.0f} s before it is taken over",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(seconds)
        now = self.folder.stat(layout.LOCK)
        return now is not None and now.version == found.version

    def _held_by(self) -> dict[str, Any]:
        return held_by(self.folder)

    def _begin_to_beat(self) -> None:
        self._owner = threading.current_thread()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True, name="lock")
        self._thread.start()

    def _keep_beating(self) -> None:
        written = time.monotonic()
        while not self._ended.wait(self._beat_seconds):
            try:
                if not self._beat():
                    return
                written = time.monotonic()
            except RunError:  # the store does not answer; who is silent for longer than others wait has lost the lock
                if time.monotonic() - written > self._stale_seconds:
                    self._lose()
                    return

    def _beat(self) -> bool:
        """Write the lock anew; False if it is not ours any more."""
        with self._writing:
            if self._ended.is_set():
                return False
            version = self.folder.replace(layout.LOCK, self._written(), self._version)
            if version is None:
                self._lose()
                return False
            self._version = version
            return True

    def _lose(self) -> None:
        if self._ended.is_set():
            return  # the block has ended, and the lock went with it
        self._lost = True
        main = threading.main_thread()
        if self._owner is main and main.ident is not None:
            for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C is ignored where a shell began this in background
                if callable(signal.getsignal(number)):
                    signal.pthread_kill(main.ident, number)  # wakes it where it waits, too
                    return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)  # one that waits for a store that does not answer ends with the process
        if self._lost:
            self._tell_loss(error)
        job = job_in(self._content.get("job"))
        if job is not None and error is not None and state_of(job) != "ended":
            print(
                f"{job} goes on without this process; {self.folder.url}/{layout.LOCK} names it. Give --attach to wait "
                "for it and go on from there, or --cancel to end it.",
                file=sys.stderr,
                flush=True,
            )
            return
        try:
            is_ours = self._let_go()
        except RunError as failure:
            if error is None:
                raise
            print(f"warning: {failure}", file=sys.stderr, flush=True)  # what ended the run is what people must see
            return
        if not is_ours and error is None:  # since the last beat; who took it may have worked beside this run
            self._tell_loss(None)

    def _let_go(self) -> bool:
        """Delete the lock; False if it is not ours any more."""
        if not self._is_ours():
            return False
        self.folder.delete([layout.LOCK])
        return True

    def _is_ours(self) -> bool:
        return bool(self._held_by().get("token") == self._content["token"])

    def _tell_loss(self, error: BaseException | None) -> NoReturn:
        other = self._held_by()
        by = f"process {other.get('process')} on {other.get('host')} has it now" if other else "it is gone"
        raise RunError(
            f"{self.folder.url}/{layout.LOCK} was taken from this run while it worked: {by}. Nothing was written "
            "after that was noticed. See to it that one run works in a folder, and give the same command again."
        ) from error


def held_by(folder: RunFolder) -> dict[str, Any]:
    """What the lock of a folder says; empty if there is none, or if it was cut off."""
    try:
        found = json.loads(folder.read(layout.LOCK))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def is_gone(lock: Mapping[str, Any]) -> bool:
    """Whether the launcher of a lock is known to be gone: a process of this machine that is not there any more."""
    return _is_here(lock) and not _is_alive(lock.get("process"))


def _is_here(lock: Mapping[str, Any]) -> bool:
    return lock.get("host") == socket.gethostname()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age_seconds(time_written: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(time_written)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _is_alive(process: object) -> bool:
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = Path(f"/proc/{process}/stat")
    return not (state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z")
