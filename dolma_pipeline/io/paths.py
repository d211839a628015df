"""Inputs and files: what a pattern finds, and files that appear whole.

Inputs are local paths, URLs (`storage.inputs`), globs of both, and `@files.txt`. Run folders are `storage`'s.
Every local path of a recipe goes through `expanded` (or `find`) before it is opened: `~` is a home folder, and what
looks like a variable is refused unless a file is called so.
A file that is written appears under its name only when it is whole: a random temporary name, fsync, rename.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dolma_pipeline.errors import UsageError, nearest
from dolma_pipeline.io import url_patterns
from dolma_pipeline.io.url_patterns import fits, has_magic
from dolma_pipeline.storage.inputs import NO_SETTINGS, InputEntry, is_url, location

_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}/]*\})")


def identity(path: str) -> str:
    """What two names of the same file have in common (links are not followed); a URL is its own."""
    return path if is_url(path) else os.path.abspath(path)


def expanded(path: str) -> str:
    """The name of the file or folder that a recipe's path means; it need not exist. A URL stays as it is.

    Raises:
        UsageError: `~` with an unknown home, or a variable in a path that does not exist.
    """
    if is_url(path):
        return path
    name = _with_home(path)
    if not os.path.lexists(name):
        _refuse_variables(path)
    return name


def _with_home(path: str) -> str:
    """The path with `~` or `~user` at its start replaced."""
    if not path.startswith("~"):
        return path
    name = os.path.expanduser(path)
    if name.startswith("~") and not os.path.lexists(path):
        owner = path.split("/")[0]
        why = f"there is no user {owner[1:]}" if owner != "~" else "HOME is not set"
        told = f"{path}: {owner} is not a home folder, {why}."
        raise UsageError(f"{told} Write the path itself, or ./{path} for that name.")
    return name


def _refuse_variables(path: str) -> None:
    if variable := _VARIABLE.search(path):
        raise UsageError(
            f"{path}: {variable[0]} is not replaced in a recipe, and no file is called so. Write the path itself, "
            "or give this key on the command line, where the shell replaces it."
        )


class Found(NamedTuple):
    """A file that a pattern finds.

    path: to open. base: the folder before the pattern's first wildcard; what follows it names the shard.
    relative: the path below the base; of a list of files, as it stands in the list.
    entry: what the place says of it, where it has a URL.
    """

    path: str
    base: str
    relative: str
    entry: InputEntry | None = None

    @property
    def size(self) -> int:
        """Bytes; 0 where the place cannot tell."""
        return os.stat(self.path).st_size if self.entry is None else self.entry.size


def find(
    patterns: Sequence[str], *, settings: Mapping[str, str] = NO_SETTINGS, gone: Collection[str] = ()
) -> list[Found]:
    """Files of patterns, in the order of the patterns, each once, however it is written.

    Args:
        patterns: paths, globs, URLs or `@files.txt` (one path a line; blank lines and `#` lines are skipped). What
            exists as it is written is not a glob: a file `a[1].jsonl`, a folder `[x]` before the first `*` or `?`.
        settings: of object stores. gone: patterns that may find nothing.

    Raises:
        UsageError: a pattern that matches nothing (it says what is there instead), a variable or unknown home in it,
            a name that is not valid UTF-8, or a place that cannot be asked.
    """
    files: dict[str, _Match] = {}
    for pattern in patterns:
        is_list = pattern.startswith("@")
        if pattern in gone and not is_list and not _finds(pattern, settings):
            continue
        for one in _read_list(pattern[1:], settings) if is_list else _matching(pattern, settings):
            if not _is_utf8(one.path):
                raise UsageError(f"{one.path!r}: the name of this file is not valid UTF-8. Rename it.")
            files.setdefault(identity(one.path), one)
    asked = [(one.path, one.where) for one in files.values() if is_url(one.path) and one.entry is None]
    entries = dict(zip((path for path, _ in asked), url_patterns.ask(asked, settings), strict=True))
    return [
        Found(
            location(one.path, settings),
            one.base,
            one.path if one.where else _below(one.path, one.base),
            one.entry or entries.get(one.path),
        )
        for one in files.values()
    ]


def _finds(pattern: str, settings: Mapping[str, str]) -> bool:
    """Whether a pattern finds anything."""
    if is_url(pattern):
        return url_patterns.finds(pattern, settings)
    return os.path.isfile(_with_home(pattern)) or bool(_globbed(_with_home(pattern)))


class _Match(NamedTuple):
    """A file of a pattern. where: its place in a list of files (`@list.txt:4`); else empty."""

    path: str
    base: str
    entry: InputEntry | None = None
    where: str = ""


def _below(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/") if base and path.startswith(base) else path.lstrip("/") if base else path


class Locator:
    """Where the files that `find` found are now: a relative path below the fixed prefix of one of the patterns.

    Patterns are looked at once, so the cost of a file does not grow with their number (a list of a thousand files).

    Args:
        patterns: of a source. settings: of object stores.
    """

    def __init__(self, patterns: Sequence[str], settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self._settings = settings
        self._patterns: dict[str | None, list[str]] = {}
        for pattern in patterns:
            self._patterns.setdefault(fixed_prefix(pattern, settings), []).append(pattern)
        self._finders: dict[str | None, _Finder] = {}

    def __call__(self, relative: str) -> str:
        """The place of a file. relative: as `Found.relative`."""
        places = {p: _with_home(relative) if p is None else f"{p}{relative}" for p in self._patterns}
        if len(places) > 1:
            for prefix, place in places.items():
                if (is_url(place) or os.path.isfile(place)) and self._finder(prefix).finds(place):
                    return location(place, self._settings)
        return location(next(iter(places.values()), relative), self._settings)

    def _finder(self, prefix: str | None) -> _Finder:
        if prefix not in self._finders:
            self._finders[prefix] = _Finder(self._patterns[prefix], self._settings)
        return self._finders[prefix]


class _Finder:
    """Tells a file that one of some patterns finds from a neighbour of such. Patterns of URLs are listed for it."""

    def __init__(self, patterns: Sequence[str], settings: Mapping[str, str]) -> None:
        self._files, self._globs = set[str](), list[list[str]]()
        for pattern in patterns:
            if pattern.startswith("@"):
                self._files.update(one.path for one in _read_list(pattern[1:], settings))
            elif is_url(pattern):
                self._files.update(one.path for one in _matching(pattern, settings))
            elif os.path.isfile(path := _with_home(pattern)):
                self._files.add(path)
            else:
                self._globs.append(path.split("/"))

    def finds(self, place: str) -> bool:
        names = place.split("/")
        return place in self._files or any(_matches(names, parts) for parts in self._globs)


def is_named(place: str, pattern: str) -> bool:
    """Whether a pattern names a file, which need not be there. place: a path, or a URL."""
    pattern = pattern if is_url(pattern) else _with_home(pattern)
    return place == pattern or _matches(place.split("/"), pattern.split("/"))


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    literal = _num_literal(parts)
    return names[:literal] == parts[:literal] and fits(names[literal:], parts[literal:])


def located(patterns: Sequence[str], relative: str) -> str:
    """Where one file is now; see `Locator`."""
    return Locator(patterns)(relative)


def fixed_prefix(pattern: str, settings: Mapping[str, str]) -> str | None:
    """What stands before relative paths of a pattern's files; None: they are paths as a list has them."""
    if pattern.startswith("@"):
        return None
    if is_url(pattern):
        return f"{url_patterns.base_of(pattern, settings)}/"
    path = _with_home(pattern)
    if os.path.isfile(path):
        base = _folder(path)
    else:
        parts = path.split("/")
        base = "/".join(parts[: _num_literal(parts)])
    return f"{base}/" if base or path.startswith("/") else ""


def _matching(pattern: str, settings: Mapping[str, str]) -> list[_Match]:
    if is_url(pattern):
        if not has_magic(pattern):
            return [_Match(pattern, _folder(pattern))]
        base, entries = url_patterns.matching(pattern, settings)
        return [_Match(entry.url, base, entry) for entry in entries]
    path = _with_home(pattern)
    if os.path.isfile(path):
        return [_Match(path, _folder(path))]
    parts = path.split("/")
    literal = _num_literal(parts)
    files = _globbed(path)
    if not files:
        _refuse_variables(pattern)
        raise UsageError(f"{pattern}: no such file. {_what_exists(path)}".rstrip())
    return [_Match(file, "/".join(parts[:literal])) for file in files]


def _globbed(path: str) -> list[str]:
    """The files that a pattern finds, sorted."""
    parts = path.split("/")
    literal = _num_literal(parts)
    found = glob.glob("/".join([*map(glob.escape, parts[:literal]), *parts[literal:]]), recursive=True)
    return sorted(file for file in found if os.path.isfile(file))


def _num_literal(parts: Sequence[str]) -> int:
    """How many parts of a pattern, at its start, are names of folders: without a wildcard, or there as written."""
    for i, part in enumerate(parts[:-1]):
        # A part with * or ? matches the folder that is called so as well, beside others.
        if has_magic(part) and ("*" in part or "?" in part or not os.path.lexists("/".join(parts[: i + 1]))):
            return i
    return len(parts) - 1


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_list(name: str, settings: Mapping[str, str]) -> list[_Match]:
    path = expanded(name)
    if not is_url(path) and not os.path.isfile(path):
        raise UsageError(f"@{name}: no such file. {_what_exists(path)}")
    try:
        content = url_patterns.read_small(location(path, settings), f"@{name}").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"@{name}: the list is not valid UTF-8: {error}") from error
    lines = {number: line.strip() for number, line in enumerate(content.split("\n"), 1)}
    lines = {number: line for number, line in lines.items() if line and not line.startswith("#")}
    if not lines:
        raise UsageError(f"@{name}: the list is empty. Put one path on each line.")
    files = []
    for number, line in lines.items():
        try:
            file = expanded(line)
        except UsageError as error:
            raise UsageError(f"@{name}:{number}: {error}") from None
        if not is_url(file) and not os.path.isfile(file):
            raise UsageError(f"@{name}:{number}: {line}: no such file. {_what_exists(file)}".rstrip())
        files.append(_Match(file, _folder(file), None, f"@{name}:{number}"))
    return files


def _what_exists(pattern: str) -> str:
    """What a user who mistyped a path would like to hear."""
    parts = Path(pattern).parts
    folder = Path(parts[0]) if parts and os.path.isabs(pattern) else Path()
    for part in parts[1:] if os.path.isabs(pattern) else parts:
        if not (folder / part).exists():
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
