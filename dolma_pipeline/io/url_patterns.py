"""Patterns of URLs: what stands before the first wildcard is listed, the rest is matched here, with the meaning that
wildcards have in local paths. A listing brings sizes and versions along; a URL without wildcards costs one request.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from dolma_pipeline.errors import RunError, UsageError, nearest
from dolma_pipeline.storage.inputs import InputEntry, location, read_whole, scheme_of, stat

T = TypeVar("T")
U = TypeVar("U")

AT_ONCE = 16
"""Requests for single URLs that wait for their answers together."""


def has_magic(path: str) -> bool:
    """Whether a path may be a pattern rather than a name; in a URL of the web `?` begins its query."""
    return glob.has_magic(path.replace("?", "") if path.startswith(("http://", "https://")) else path)


def fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts of a path are what `glob` finds for those of a pattern."""
    if not parts or not names:
        return not names and not parts
    hidden = names[0].startswith(".") and not parts[0].startswith(".")
    if parts == ["**"]:
        return not any(name.startswith(".") for name in names)
    if parts[0] == "**":
        return fits(names, parts[1:]) or (not hidden and fits(names[1:], parts))
    return not hidden and fnmatch.fnmatchcase(names[0], parts[0]) and fits(names[1:], parts[1:])


def matching(pattern: str, settings: Mapping[str, str]) -> tuple[str, list[InputEntry]]:
    """The base of a pattern with wildcards, and the files that it finds, in order of their URLs.

    A file that is called as the pattern is written is that file alone.

    Raises:
        UsageError: it finds nothing, or the place cannot be asked.
    """
    scheme = scheme_of(pattern)
    if not scheme.lists:
        name = pattern.partition("://")[0]
        raise UsageError(
            f"{pattern}: files cannot be listed at {name}://, so there are no globs in its URLs. List the files in a "
            "text file and give @that-file.txt."
        )
    with _asked():
        base, found = _listed(pattern, settings)
        if not found:
            raise UsageError(f"{pattern}: no such file. {_what_exists(pattern, settings)}".rstrip())
    return base, found


def finds(pattern: str, settings: Mapping[str, str]) -> bool:
    """Whether anything of a URL or a pattern of URLs is there.

    Raises:
        UsageError: the place cannot be asked.
    """
    with _asked():
        if not has_magic(pattern):
            return stat(location(pattern, settings)) is not None
        return not scheme_of(pattern).lists or bool(_listed(pattern, settings)[1])


def _listed(pattern: str, settings: Mapping[str, str]) -> tuple[str, list[InputEntry]]:
    """The base of a pattern with wildcards, and the files that it finds, in order of their URLs."""
    parts = pattern.split("/")
    base = base_of(pattern, settings)
    start = base.count("/") + 1
    found: list[InputEntry] = []
    for entry in scheme_of(pattern).entries("/".join(parts[: _first_magic(parts)]), settings):
        if entry.url == pattern:
            return _folder(pattern), [entry]
        if entry.url.startswith(f"{base}/") and fits(entry.url.split("/")[start:], parts[start:]):
            found.append(entry)
    return base, sorted(found)


def base_of(pattern: str, settings: Mapping[str, str]) -> str:
    """The folder before a pattern's first wildcard. A name with brackets is asked for: it may be there as written."""
    parts = pattern.split("/")
    if not has_magic(pattern):
        return _folder(pattern)
    scheme = scheme_of(pattern)
    with _asked():
        for number in range(_first_magic(parts), len(parts) - 1):
            part = parts[number]
            is_there = has_magic(part) and not {"*", "?"} & set(part)
            if has_magic(part) and not (is_there and scheme.names("/".join(parts[: number + 1]), settings)):
                return "/".join(parts[:number])
    return _folder(pattern)


def ask(urls: Sequence[tuple[str, str]], settings: Mapping[str, str]) -> list[InputEntry]:
    """What is known of files at single URLs, some asked for at once.

    Args:
        urls: each with its place in a list of files, or "".

    Raises:
        UsageError: the first that is not there, or cannot be asked for.
    """
    return at_once(partial(_ask, settings=settings), urls, are_urls=True)


def at_once(call: Callable[[T], U], items: Sequence[T], *, are_urls: bool) -> list[U]:
    """What `call` gives for each; where that asks other machines, `AT_ONCE` of them wait together."""
    if not are_urls or not items:
        return [call(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, items))


def _ask(url_and_place: tuple[str, str], settings: Mapping[str, str]) -> InputEntry:
    url, place = url_and_place
    before = f"{place}: " if place else ""
    with _asked(before):
        entry = stat(location(url, settings))
        if entry is None:
            raise UsageError(f"{url}: no such file. {_what_exists(url, settings)}".rstrip())
    return entry


def read_small(path: str, name: str) -> bytes:
    """The content of a small input that checks need before work starts.

    Args:
        path: local, or a location. name: what errors call it.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    try:
        return read_whole(path)
    except FileNotFoundError:
        raise UsageError(f"{name}: no such file.") from None
    except (RunError, OSError) as error:
        raise UsageError(f"{name}: {error}") from None


@contextlib.contextmanager
def _asked(before: str = "") -> Iterator[None]:
    """What a place refuses before any work has started is an error of the request."""
    try:
        yield
    except (RunError, UsageError) as error:
        raise UsageError(f"{before}{error}") from None


def _first_magic(parts: Sequence[str]) -> int:
    return next(number for number, part in enumerate(parts) if has_magic(part))


def _folder(url: str) -> str:
    return url.rpartition("/")[0]


def _what_exists(url: str, settings: Mapping[str, str]) -> str:
    """What a user who mistyped a URL would like to hear; nothing where files cannot be listed."""
    scheme = scheme_of(url)
    if not scheme.lists:
        return ""
    parts = url.rstrip("/").split("/")
    least = 3 + (url.startswith("hf://") and 1 + url.startswith("hf://datasets/"))
    fixed = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts))
    if fixed == len(parts) and len(parts) >= least and scheme.names("/".join(parts), settings):
        folder = "/".join(parts)
        return f"{folder} is a folder; give a pattern such as {folder}/**/*.jsonl.gz."
    for number in range(min(fixed, len(parts) - 1), least - 1, -1):
        folder = "/".join(parts[:number])
        names = scheme.names(folder, settings)
        if names or number == least:
            near = nearest(parts[number], names)
            return f"In {folder}/ there is: {', '.join(sorted(near) or names[:8]) or 'nothing'}."
    return ""
