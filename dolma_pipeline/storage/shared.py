"""Files that all processes of a user on this machine have in common, and that outlive them: fetched once.

Below `$DOLMA_SCRATCH`, else the system's folder for temporary files, in a folder that nobody else may write. What is
in it may be removed at any time when no run is at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.names import checked
from dolma_pipeline.storage.scratch import VARIABLE


class SharedFolder:
    """A folder of this machine for this user.

    Args:
        kind: what is in it.

    Raises:
        RunError: the disk does not take it, or it is somebody else's.
    """

    def __init__(self, kind: str) -> None:
        place = Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
        self.path = place / f"dolma-shared-{kind}-{os.getuid()}"
        with told("written", self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise RunError(
                f"{self.path} is not a folder that only this user can write: another user made it, or changed it. "
                f"Remove it, or set {VARIABLE} to a folder of your own."
            )

    def file(self, name: str, open_source: Callable[[], BinaryIO]) -> Path:
        """A file under its name; whoever comes first fetches it, others wait.

        Args:
            name: its content never changes. open_source: gives what to copy.

        Raises:
            RunError: the disk does not take it.
        """
        target = self.path / checked(name)
        if target.is_file():
            return target
        with told("written", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                if not target.is_file():
                    with tempfile.NamedTemporaryFile(dir=self.path, prefix=".part-", delete=False) as file:
                        try:
                            with open_source() as source:
                                shutil.copyfileobj(source, file, 1 << 20)
                            file.close()
                            os.replace(file.name, target)
                        finally:
                            Path(file.name).unlink(missing_ok=True)
        return target

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self.path / ".lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
