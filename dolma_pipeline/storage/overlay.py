"""A run's folder with some small files as they will be: what checks look at before anything is written."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.folder import Entry, RunFolder


class Overlay(RunFolder):
    """Another folder, but for the content of some names. Reading sees the content; all else goes to the folder.

    Args:
        folder: what is below. files: name -> content.
    """

    def __init__(self, folder: RunFolder, files: Mapping[str, bytes]) -> None:
        self._folder, self._files = folder, dict(files)
        self.url = folder.url

    def __reduce__(self) -> tuple[object, ...]:
        return Overlay, (self._folder, self._files)

    def read(self, name: str) -> bytes:
        """See `RunFolder.read`."""
        return self._files[name] if name in self._files else self._folder.read(name)

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`."""
        return io.BytesIO(self._files[name]) if name in self._files else self._folder.stream(name)

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`."""
        return io.BytesIO(self._files[name]) if name in self._files else self._folder.random(name)

    def local(self, name: str) -> AbstractContextManager[Path]:
        """See `RunFolder.local`."""
        return self._folder.local(name)

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`."""
        if name in self._files:
            return Entry(name, len(self._files[name]), "")
        return self._folder.stat(name)

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`."""
        return self._folder.list(under)

    def committing(self, name: str) -> AbstractContextManager[Committed]:
        """See `RunFolder.committing`."""
        return self._folder.committing(name)

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`."""
        return self._folder.create(name, content)

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`."""
        return self._folder.replace(name, content, version)

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`."""
        self._folder.delete(names)

    def delete_tree(self, under: str) -> None:
        """See `RunFolder.delete_tree`."""
        self._folder.delete_tree(under)

    def remove_attempts(self) -> None:
        """See `RunFolder.remove_attempts`."""
        self._folder.remove_attempts()

    def check(self) -> None:
        """See `RunFolder.check`."""
        self._folder.check()

    def check_conditions(self) -> None:
        """See `RunFolder.check_conditions`."""
        self._folder.check_conditions()

    def local_path(self) -> Path | None:
        """See `RunFolder.local_path`."""
        return self._folder.local_path()
