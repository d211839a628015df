"""The only door to storage: find, open, and commit files.

Inputs are local paths (globs allowed), `@files.txt`, and explicit URLs of any scheme that smart_open reads
(https, s3, gs, with the extra of that name). A run's own folder is local. Another store is one more `Storage`.
A file that is written appears under its name only when it is whole: a random temporary name, fsync, rename.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from dolma_pipeline.errors import UsageError, nearest


class Storage(Protocol):
    """What a place for files must be able to do."""

    def open(self, path: str) -> BinaryIO:
        """The raw bytes of a file, from its start."""

    def size(self, path: str) -> int:
        """Bytes of a file; 0 where the place cannot tell."""

    def glob(self, pattern: str) -> list[str]:
        """Files that match, sorted; `**` crosses folders."""


class LocalStorage:
    """Files of this machine."""

    def open(self, path: str) -> BinaryIO:
        """The raw bytes of a file, from its start."""
        return open(path, "rb")

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return os.stat(path).st_size

    def glob(self, pattern: str) -> list[str]:
        """Files that match, sorted; `**` crosses folders; hidden files only where the pattern names the dot."""
        return sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))


class UrlStorage:
    """Explicit URLs, read through smart_open; a list of them can stand in `@files.txt`."""

    def open(self, path: str) -> BinaryIO:
        """The raw bytes behind a URL, as stored (not decompressed)."""
        import smart_open

        file: BinaryIO = smart_open.open(path, "rb", compression="disable")
        return file

    def size(self, path: str) -> int:
        """0: sizes are not asked for over the network."""
        return 0

    def glob(self, pattern: str) -> list[str]:
        """The URL itself; a pattern in it is an error."""
        if has_magic(pattern):
            raise UsageError(f"{pattern}: no globs in URLs. List the files in a text file and give @that-file.txt.")
        return [pattern]


_LOCAL, _URL = LocalStorage(), UrlStorage()


def is_url(path: str) -> bool:
    """Whether a path names a scheme, such as s3:// or https://."""
    return "://" in path


def has_magic(path: str) -> bool:
    """Whether a path is a pattern rather than a name."""
    return glob.has_magic(path)


def storage_of(path: str) -> Storage:
    """The store that holds a path."""
    return _URL if is_url(path) else _LOCAL


def identity(path: str) -> str:
    """What two names of the same file have in common (links are not followed); a URL is its own."""
    return path if is_url(path) else os.path.abspath(path)


def find(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Files of patterns, in the order of the patterns, each once, however it is written.

    Args:
        patterns: paths, globs, URLs or `@files.txt` (one path a line; blank lines and `#` lines are skipped).

    Returns:
        (path, base): base is the folder before the pattern's first wildcard; what follows it names the shard.

    Raises:
        UsageError: a pattern that matches nothing (it says what is there instead), or a name that is no UTF-8.
    """
    found: dict[str, tuple[str, str]] = {}
    for pattern in patterns:
        if pattern.startswith("@"):
            for line in _read_list(pattern[1:]):
                found.setdefault(identity(line), (line, _base(line)))
            continue
        paths = storage_of(pattern).glob(pattern)
        if not paths:
            raise UsageError(f"{pattern}: no such file. {_what_exists(pattern)}".rstrip())
        for path in paths:
            if not _is_utf8(path):
                raise UsageError(f"{path!r}: the name of this file is no UTF-8. Rename it.")
            found.setdefault(identity(path), (path, _base(pattern)))
    return list(found.values())


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_list(path: str) -> list[str]:
    if not os.path.isfile(path):
        raise UsageError(f"@{path}: no such file. {_what_exists(path)}")
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"@{path}: the list is no UTF-8: {error}") from error
    lines = {number: line.strip() for number, line in enumerate(content.split("\n"), 1)}
    lines = {number: line for number, line in lines.items() if line and not line.startswith("#")}
    if not lines:
        raise UsageError(f"@{path}: the list is empty. Put one path on each line.")
    for number, line in lines.items():
        if not is_url(line) and not os.path.isfile(line):
            raise UsageError(f"@{path}:{number}: {line}: no such file. {_what_exists(line)}".rstrip())
    return list(lines.values())


def _base(pattern: str) -> str:
    parts = pattern.split("/")
    for i, part in enumerate(parts):
        if has_magic(part):
            return "/".join(parts[:i])
    return "/".join(parts[:-1])


def _what_exists(pattern: str) -> str:
    """What a user who mistyped a path would like to hear."""
    parts = Path(pattern).parts
    folder = Path(parts[0]) if parts and os.path.isabs(pattern) else Path()
    for part in parts[1:] if os.path.isabs(pattern) else parts:
        if has_magic(part) or not (folder / part).exists():
            names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            near = nearest(part, names)
            shown = ", ".join(sorted(near) or names[:8]) or "nothing"
            return f"In {folder}/ there is: {shown}."
        folder = folder / part
    return f"{folder} is a folder; give a pattern such as {folder}/**/*.jsonl.gz." if folder.is_dir() else ""


_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def _private(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file beside `path`, under a name that no other attempt has, on whatever machine; gone after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def committing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under `path` only when the block ends well, synced to disk.

    Copies of a task may commit the same path at once: each writes a file of its own, and the last one stays.
    """
    with _private(path) as (file, temporary):
        yield file
        _sync(file)
        os.replace(temporary, path)


def create(path: Path, content: bytes) -> bool:
    """Commit `content` under `path` unless there is a file already; returns whether it did.

    Of many who create a file at once exactly one does, and nobody sees half of it.
    """
    with _private(path) as (file, temporary):
        file.write(content)
        _sync(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def unfinished(folder: Path) -> Iterator[Path]:
    """What attempts that were killed left below a folder: files that never got their name."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if _UNFINISHED.fullmatch(name))


def write_bytes(path: Path, content: bytes) -> None:
    """Commit `content` under `path`."""
    with committing(path) as file:
        file.write(content)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a local file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
