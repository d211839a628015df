"""A run's folder on a disk of this machine, or one that is mounted here.

A file is written below `.tmp/` under a random name that is opened exclusively, synced, and renamed; two copies of a
task never write one file. What dead processes left in `.tmp/` goes when the next run starts.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.folder import SCHEMES, Entry, RunFolder

TEMPORARY = ".tmp"


class LocalFolder(RunFolder):
    """A folder of this machine; made when the first file is written."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self.url = str(self.root)

    def __repr__(self) -> str:
        return f"LocalFolder({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalFolder) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def read(self, name: str) -> bytes:
        """See `RunFolder.read`."""
        return (self.root / name).read_bytes()

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`."""
        return open(self.root / name, "rb")

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`."""
        return open(self.root / name, "rb")

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """See `RunFolder.local`: the file itself."""
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        yield path

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`."""
        try:
            found = os.stat(self.root / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(name, found.st_size, _version(found))

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`; temporary files are not listed."""
        for name in sorted(_names(self.root, under)):
            found = self.stat(name)
            if found is not None:
                yield found

    @contextlib.contextmanager
    def committing(self, name: str) -> Iterator[Committed]:
        """See `RunFolder.committing`."""
        target = self.root / name
        with self._temporary() as temporary:
            with open(temporary, "xb", buffering=1 << 20) as file:
                yield (committed := Committed(file))
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
        assert committed.num_bytes >= 0

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`."""
        target = self.root / name
        with self._temporary() as temporary:
            self._fill(temporary, content)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`. Not atomic between the look and the rename: for locks of one machine's launchers."""
        before = self.stat(name)
        if before is None or before.version != version:
            return None
        self.write(name, content)
        after = self.stat(name)
        return after.version if after else None

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def delete_tree(self, under: str) -> None:
        """See `RunFolder.delete_tree`."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root / under)

    def local_path(self) -> Path:
        """See `RunFolder.local_path`."""
        return self.root

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        folder = self.root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / secrets.token_hex(16)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _fill(self, path: Path, content: bytes) -> None:
        with open(path, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"


def _names(root: Path, under: str) -> Iterator[str]:
    stack = [under.strip("/")]
    while stack:
        folder = stack.pop()
        try:
            entries = list(os.scandir(root / folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=True):
                if name != TEMPORARY:
                    stack.append(name)
            else:
                yield name


def _open(url: str, settings: Mapping[str, str]) -> RunFolder:
    return LocalFolder(url.removeprefix("file://"))


SCHEMES["file"] = _open
