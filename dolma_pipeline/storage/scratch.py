"""This process's own disk space: names that nobody else uses, gone when the process ends.

`$DOLMA_SCRATCH` names the disk, else the system's folder for temporary files.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "DOLMA_SCRATCH"


class Scratch:
    """A folder of this process, made on first use."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process = os.getpid()

    @property
    def folder(self) -> Path:
        """The folder; another one in a forked copy of the process."""
        if self._folder is None or self._process != os.getpid():
            self._process = os.getpid()
            self._folder = Path(tempfile.mkdtemp(prefix="dolma-pipeline-", dir=os.environ.get(VARIABLE)))
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def path(self, ending: str = "") -> Path:
        """A name nobody else uses; nothing is there yet."""
        return self.folder / f"{secrets.token_hex(12)}{ending}"

    def cached(self, key: str, fill: Callable[[Path], None]) -> Path:
        """A file that is made once a process and key; `fill` writes it under the path that it is given."""
        target = self.folder / "cached" / key
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            private = self.path()
            fill(private)
            os.replace(private, target)
        return target

    def close(self) -> None:
        """Remove it all."""
        if self._folder is not None and self._process == os.getpid():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
