"""This process's own disk space: names that nobody else uses, gone when the process ends.

`$DOLMA_SCRATCH` names the disk, else the system's folder for temporary files. A process that is killed cannot clear
up: its folder is locked for as long as it lives, and the next process to make one removes those that nobody holds.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.names import checked

VARIABLE = "DOLMA_SCRATCH"
PREFIX = "dolma-pipeline-"
HELD = ".held"


class OwnFolder:
    """A folder of this machine under a name that nobody else has, held by this process and copies of it.

    Args:
        place: where; default as `$DOLMA_SCRATCH` says.

    Raises:
        RunError: the disk does not take it.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._process = os.getpid()
        place = place or Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
        with told("written", place):
            place.mkdir(parents=True, exist_ok=True)
            _remove_dead(place)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            self._lock: int | None = _hold(self.path)
        atexit.register(self.close)

    def close(self) -> None:
        """Remove it; in a forked copy of the process nothing happens."""
        if self._process == os.getpid() and self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None
            atexit.unregister(self.close)


def _hold(folder: Path) -> int:
    """Lock a new folder; the lock has its name only when it is held, so that nobody takes the folder for a dead one."""
    unnamed = folder / f"{HELD}-{os.getpid()}"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.replace(unnamed, folder / HELD)
    return descriptor


def _is_dead(folder: Path) -> bool:
    """Whether the lock of a folder is held by no process, nor by a copy of one."""
    descriptor = os.open(folder / HELD, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_dead(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or made or removed at this very moment
            if _is_dead(folder):
                shutil.rmtree(folder, ignore_errors=True)


class Scratch:
    """Disk space of this process, made on first use. A forked copy, and a pickled one, have their own."""

    def __init__(self) -> None:
        self._own: OwnFolder | None = None
        self._process = os.getpid()

    def __reduce__(self) -> tuple[object, ...]:
        return Scratch, ()

    @property
    def folder(self) -> Path:
        """The folder; another one in a forked copy of the process."""
        if self._own is None or self._process != os.getpid():
            self._process = os.getpid()
            self._own = OwnFolder()
        return self._own.path

    def path(self, ending: str = "") -> Path:
        """A name nobody else uses; nothing is there yet."""
        return self.folder / f"{secrets.token_hex(12)}{ending}"

    def cached(self, key: str, fill: Callable[[Path], None]) -> Path:
        """A file that is made once a process and key; `fill` writes it under the path that it is given.

        Raises:
            RunError: the disk does not take it.
        """
        target = self.folder / "cached" / checked(key)
        if not target.exists():
            private = self.path()
            with told("written", target, missing=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                fill(private)
                os.replace(private, target)
        return target

    def close(self) -> None:
        """Remove it all; it is made anew when it is used again."""
        if self._own is not None and self._process == os.getpid():
            self._own.close()
            self._own = None
