"""A run's folder on a disk of this machine, or one that is mounted here.

A file is written below `.tmp/` under a random name that is opened exclusively, synced, and renamed; two copies of a
task never write one file. What dead attempts left in `.tmp/` is removed by the launcher (`remove_attempts`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.folder import SCHEMES, Entry, RunFolder
from dolma_pipeline.storage.names import TEMPORARY, checked, prefix_of

BUFFER_BYTES = 1 << 20


class LocalFolder(RunFolder):
    """A folder of this machine; made when the first file is written.

    Args:
        root: its path.
        durable: what is written outlasts a power failure (each file is synced); False for logs and queues.
    """

    def __init__(self, root: str | Path, *, durable: bool = True) -> None:
        self.root = Path(root).absolute()
        self.url = str(self.root)
        self.durable = durable

    def __repr__(self) -> str:
        return f"LocalFolder({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalFolder) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def read(self, name: str) -> bytes:
        """See `RunFolder.read`."""
        path = self._path(name)
        with _reading(path):
            with open(path, "rb") as file:
                return file.read()

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`."""
        path = self._path(name)
        with _reading(path):
            return open(path, "rb", buffering=BUFFER_BYTES)

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`."""
        path = self._path(name)
        with _reading(path):
            return open(path, "rb")

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """See `RunFolder.local`: the file itself."""
        path = self._path(name)
        if self.stat(name) is None:
            raise FileNotFoundError(f"{path}: no such file")
        yield Path(path)

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`."""
        path = self._path(name)
        try:
            with _reading(path):
                found = os.stat(path)
        except FileNotFoundError:
            return None
        return None if stat.S_ISDIR(found.st_mode) else Entry(name, found.st_size, _version(found))

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`: folder by folder; files that are not whole yet are not listed."""
        yield from _walk(self.root, prefix_of(under))

    @contextlib.contextmanager
    def committing(self, name: str) -> Iterator[Committed]:
        """See `RunFolder.committing`."""
        target = self._path(name)
        with self._attempt(target) as attempt:
            yield (committed := Committed(attempt.file, target))
            committed.end()
            self._seal(attempt.file, target)
            with told("written", target):
                _make_folder(target)
                os.replace(attempt.path, target)
                attempt.is_left = False

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`."""
        target = self._path(name)
        with self._attempt(target) as attempt:
            self._fill(attempt.file, content, target)
            with told("written", target):
                _make_folder(target)
                try:
                    os.link(attempt.path, target)  # whole or not at all, and for one alone
                except FileExistsError:
                    return False
        return True

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`. Those who replace at once wait for each other; writers by other verbs do not."""
        target = self._path(name)
        with self._attempt(target) as attempt:
            self._fill(attempt.file, content, target)
            with told("written", target), _alone(self.root / TEMPORARY / "replacing"):
                before = self.stat(name)
                if before is None or before.version != version:
                    return None
                after = _version(os.fstat(attempt.file.fileno()))
                os.replace(attempt.path, target)
                attempt.is_left = False
        return after

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`."""
        for name in names:
            path = self._path(name)
            absent = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
            with told("deleted", path), contextlib.suppress(*absent):
                os.unlink(path)

    def delete_tree(self, under: str) -> None:
        """See `RunFolder.delete_tree`."""
        path = self._path(under)
        with told("deleted", path), contextlib.suppress(NotADirectoryError):
            _remove(Path(path))

    def remove_attempts(self) -> None:
        """See `RunFolder.remove_attempts`."""
        with told("deleted", self.root / TEMPORARY):
            _remove(self.root / TEMPORARY)

    def local_path(self) -> Path:
        """See `RunFolder.local_path`."""
        return self.root

    def _path(self, name: str) -> str:
        return f"{self.url}/{checked(name)}"  # not pathlib, which is 3 % of a run over small files

    @contextlib.contextmanager
    def _attempt(self, target: str) -> Iterator[_Attempt]:
        """A private file of this attempt, gone after the block unless it was renamed.

        A copy of the process that leaves the block (user code that forks) touches neither the file nor its name.
        """
        path, process = f"{self.url}/{TEMPORARY}/{secrets.token_hex(16)}", os.getpid()
        with told("written", target):
            _make_folder(path)
            file = open(path, "xb", buffering=BUFFER_BYTES)  # noqa: SIM115 closed below, whatever its buffer holds
        attempt = _Attempt(path, cast(io.BufferedWriter, file))
        try:
            yield attempt
        finally:
            if os.getpid() != process:
                attempt.file.raw.close()
            else:
                with contextlib.suppress(OSError):  # what the disk did not take was told of by `_seal`, or is given up
                    attempt.file.close()
                if attempt.is_left:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)

    def _seal(self, file: BinaryIO, target: str) -> None:
        """All bytes on the disk."""
        with told("written", target):
            file.flush()
            if self.durable:
                os.fsync(file.fileno())

    def _fill(self, file: BinaryIO, content: bytes, target: str) -> None:
        with told("written", target):
            file.write(content)
        self._seal(file, target)


@dataclass
class _Attempt:
    """A file that is not whole yet. is_left: it has this name still."""

    path: str
    file: io.BufferedWriter
    is_left: bool = True


def _make_folder(path: str) -> None:
    """The folder of a path; mostly it is there."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)


def _remove(folder: Path) -> None:
    """Take away a folder with all that is in it; a link to one stays.

    Others may be at it: a worker that is late writes a file, another launcher has just lost the run's lock. What they
    take away meanwhile is gone, and what they put there meanwhile stays.
    """
    try:
        children = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for child in children:
        if child.is_dir(follow_symlinks=False):
            _remove(Path(child.path))
        else:
            Path(child.path).unlink(missing_ok=True)
    if not folder.is_symlink():
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """A folder is not a file, and what is named below a file is not there."""
    with told("read", path, missing=True):
        try:
            yield
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path}: no such file") from error


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process or thread of this machine at a time."""
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"


def _walk(root: Path, prefix: str) -> Iterator[Entry]:
    """Files whose names begin with a prefix that is empty or ends in "/", sorted by name.

    A folder is sorted as its name and "/", as all names in it begin, so that no more than one folder is held.
    """
    folder = str(root / prefix)
    try:
        with _reading(folder):
            found = {f"{one.name}/" if one.is_dir() else one.name: one for one in os.scandir(folder)}
    except FileNotFoundError:
        return
    for name in sorted(found):
        if not name.endswith("/"):
            with contextlib.suppress(FileNotFoundError):  # deleted in between, or a link to nothing
                here = os.stat(found[name].path)
                yield Entry(f"{prefix}{name}", here.st_size, _version(here))
        elif f"{prefix}{name}" != f"{TEMPORARY}/" and not _leads_up(found[name]):
            yield from _walk(root, f"{prefix}{name}")


def _leads_up(folder: os.DirEntry[str]) -> bool:
    """Whether a link leads to a folder that it is in, which would never end."""
    return folder.is_symlink() and Path(folder.path).parent.resolve().is_relative_to(Path(folder.path).resolve())


def _open(url: str, settings: Mapping[str, str]) -> RunFolder:
    path = url[len("file://") :] if url[:7].lower() == "file://" else url
    if not path or (path != url and not path.startswith("/")):
        raise UsageError(f"{url!r} is not a folder of this machine. Give a path, or file:///and/its/path.")
    return LocalFolder(path)


SCHEMES["file"] = _open
