"""A run's folder in the memory of this process, for tests and notebooks: `memory://name`.

It is one process's own: a copy that travels to another process finds nothing there.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.folder import SCHEMES, Entry, RunFolder
from dolma_pipeline.storage.names import checked, prefix_of

_FOLDERS: dict[str, dict[str, tuple[bytes, str]]] = {}
_VERSIONS = itertools.count(1)
_LOCK = threading.RLock()


class MemoryFolder(RunFolder):
    """Files in memory; every `MemoryFolder` of one URL in this process is the same folder.

    Args:
        url: `memory://name`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files = _FOLDERS.setdefault(url, {})

    def __repr__(self) -> str:
        return f"MemoryFolder({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return MemoryFolder, (self.url,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryFolder) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def read(self, name: str) -> bytes:
        """See `RunFolder.read`."""
        try:
            return self._files[checked(name)][0]
        except KeyError:
            raise FileNotFoundError(f"{self.url}/{name}: no such file") from None

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`."""
        return io.BytesIO(self.read(name))

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`."""
        return io.BytesIO(self.read(name))

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """See `RunFolder.local`: a copy on disk, for the block."""
        content = self.read(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name.rpartition("/")[2]
            with told("written", path):
                path.write_bytes(content)
            yield path

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`."""
        found = self._files.get(checked(name))
        return Entry(name, len(found[0]), found[1]) if found else None

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`."""
        prefix = prefix_of(under)
        with _LOCK:
            names = sorted(name for name in self._files if name.startswith(prefix))
        for name in names:
            if (one := self._files.get(name)) is not None:
                yield Entry(name, len(one[0]), one[1])

    @contextlib.contextmanager
    def committing(self, name: str) -> Iterator[Committed]:
        """See `RunFolder.committing`."""
        buffer = io.BytesIO()
        yield (committed := Committed(buffer, f"{self.url}/{checked(name)}"))
        committed.end()
        self._put(name, buffer.getvalue())

    def write(self, name: str, content: bytes) -> None:
        """See `RunFolder.write`."""
        self._put(checked(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`."""
        with _LOCK:
            if checked(name) in self._files:
                return False
            self._put(name, content)
            return True

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`."""
        with _LOCK:
            found = self._files.get(checked(name))
            if found is None or found[1] != version:
                return None
            return self._put(name, content)

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`."""
        for name in names:
            with _LOCK:
                self._files.pop(checked(name), None)

    def delete_tree(self, under: str) -> None:
        """See `RunFolder.delete_tree`."""
        checked(under)
        self.delete([entry.name for entry in self.list(under)])

    def _put(self, name: str, content: bytes) -> str:
        with _LOCK:
            version = str(next(_VERSIONS))
            self._files[name] = (bytes(memoryview(content)), version)  # what encoders give holds room for kilobytes
            return version


def _open(url: str, settings: Mapping[str, str]) -> RunFolder:
    if not url.rpartition("://")[2]:
        raise UsageError(f"{url!r} has no name: write memory://name.")
    return MemoryFolder(url)


SCHEMES["memory"] = _open
