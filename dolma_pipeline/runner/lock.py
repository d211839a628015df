"""One run in a folder at a time: `lock.json` says who."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths


class RunLock:
    """Held while a run works in `folder`; a lock whose process is gone is taken over.

    Raises:
        UsageError: another process is at work here.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock.json"

    def __enter__(self) -> RunLock:
        me = {"host": socket.gethostname(), "process": os.getpid(), "start": time.strftime("%Y-%m-%dT%H:%M:%S")}
        for _ in range(2):
            if paths.create(self.path, json.dumps(me).encode()):  # nobody sees a lock that says nothing
                return self
            self._take_over()
        raise UsageError(f"{self.path}: another run has just begun here.")

    def _take_over(self) -> None:
        try:
            other = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            other = {}
        if other.get("host") == socket.gethostname() and not _is_alive(other.get("process")):
            self.path.unlink(missing_ok=True)
            return
        if not other:
            self.path.unlink(missing_ok=True)
            return
        raise UsageError(
            f"{self.path}: process {other.get('process')} on {other.get('host')} has been at work here since "
            f"{other.get('start')}. Wait for it; if it is gone, delete that file."
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)


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
