"""One run in a folder at a time: `lock.json` says who."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType

from dolma_pipeline.errors import UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.storage.folder import RunFolder


class RunLock:
    """Held while a run works in `folder`; a lock whose process is gone is taken over.

    Raises:
        UsageError: another process is at work here, or the store cannot tell two who come at once apart.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._token = secrets.token_hex(16)

    def __enter__(self) -> RunLock:
        me = {
            "token": self._token,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "start": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }
        content = json.dumps(me).encode()
        self.folder.check_conditions()
        for _ in range(2):
            if self.folder.create(layout.LOCK, content) or self._take_over(content):
                return self
        raise UsageError(f"{self.folder.url}/{layout.LOCK}: another run has just begun here.")

    def _take_over(self, content: bytes) -> bool:
        """Whether a lock whose process is gone is ours now; of several who find it, it is one's."""
        found = self.folder.stat(layout.LOCK)
        if found is None:
            return False
        other = self._held_by()
        if not other or (other.get("host") == socket.gethostname() and not _is_alive(other.get("process"))):
            return self.folder.replace(layout.LOCK, content, found.version) is not None
        raise UsageError(
            f"{self.folder.url}/{layout.LOCK}: process {other.get('process')} on {other.get('host')} has been at work "
            f"here since {other.get('start')}. Wait for it; if it is gone, delete that file."
        )

    def _held_by(self) -> dict[str, object]:
        try:
            found = json.loads(self.folder.read(layout.LOCK))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held_by().get("token") == self._token:
            self.folder.delete([layout.LOCK])


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
