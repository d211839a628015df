"""Inputs, wherever they are: the one way in for all that a run reads and has not made itself.

Documents, lists of files, given attributes, a tokenizer, tasks and modules are opened here: by a path of this machine,
or by a URL whose scheme is registered. A scheme is one `InputScheme` in one file; ours are named in `BUILT_IN`, and
smart_open reads what nobody registered. Settings (endpoint, region, account) come from the recipe; credentials are the
environment's, of each process.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.copies import nameless
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.scratch import Scratch

NO_SETTINGS: Mapping[str, str] = {}
COPY_BYTES = 1 << 20

BUILT_IN = {
    **dict.fromkeys(("s3", "gs", "az"), "dolma_pipeline.storage.object_inputs"),
    **dict.fromkeys(("http", "https"), "dolma_pipeline.storage.web"),
    "hf": "dolma_pipeline.storage.hub",
}
"""Scheme -> the module that registers it, imported on first use."""


class InputEntry(NamedTuple):
    """What is known of an input that has a URL, without reading it.

    url: as it is opened. size: in bytes; 0 where the place cannot tell. version: another one where the file was written
    anew (an ETag, a blob's id); empty where the place cannot tell. commit: of the repository that it was seen in.
    """

    url: str
    size: int
    version: str
    commit: str = ""


class InputScheme(ABC):
    """What reads the URLs of a scheme. Every method raises RunError for what the place refuses.

    Attributes:
        lists: whether files below a folder can be listed, so that URLs may be patterns.
        question: whether `?` begins a query, and is not a wildcard.
    """

    lists = True
    question = False

    def check(self, url: str) -> None:  # noqa: B027 most URLs are right as they are
        """Refuse a URL that cannot be; nothing is asked.

        Raises:
            UsageError: so it is; what could be a secret is not repeated.
        """

    @abstractmethod
    def stat(self, url: str, settings: Mapping[str, str]) -> InputEntry | None:
        """What is known of a file; None if there is none. Gives up after seconds."""

    @abstractmethod
    def stream(self, url: str, settings: Mapping[str, str], start: int = 0) -> BinaryIO:
        """A file from byte `start` on, forward only; what breaks off goes on from there. FileNotFoundError if none."""

    def head(self, url: str, settings: Mapping[str, str], size: int) -> bytes:
        """The first bytes of a file, at most `size`; asked of many files, so no more than these should come."""
        with self.stream(url, settings) as file:
            return file.read(size)

    def random(self, url: str, settings: Mapping[str, str]) -> BinaryIO:
        """A file to read anywhere: by ranges where that is cheaper, else a copy in scratch."""
        with self.stream(url, settings) as file:
            return nameless(iter(lambda: file.read(COPY_BYTES), b""))

    def entries(self, folder: str, settings: Mapping[str, str]) -> Iterator[InputEntry]:
        """The files below a folder's URL (without its last "/"), in all depths."""
        raise UsageError(f"{folder}: files cannot be listed there.")

    def names(self, folder: str, settings: Mapping[str, str]) -> list[str]:
        """Names of what is directly in a folder, some hundred at most, for messages; [] if there is no such folder."""
        return []


SCHEMES: dict[str, InputScheme] = {}
"""Scheme -> what reads its URLs."""


def register_scheme(name: str, scheme: InputScheme) -> None:
    """Make the URLs of a scheme readable."""
    SCHEMES[name] = scheme


class Location(str):
    """The URL of an input, with the settings that open it: a string wherever only the name matters.

    Args:
        url: as in the recipe. settings: endpoint, region, account.
    """

    settings: Mapping[str, str]

    def __new__(cls, url: str, settings: Mapping[str, str] = NO_SETTINGS) -> Location:  # noqa: D102 as the class says
        location = super().__new__(cls, url)
        location.settings = settings
        return location

    def __reduce__(self) -> tuple[object, ...]:
        return Location, (str(self), dict(self.settings))


def is_url(path: str) -> bool:
    """Whether a path names a scheme, such as s3:// or https://."""
    return "://" in path


def location(path: str, settings: Mapping[str, str] = NO_SETTINGS) -> str:
    """A path as it is; a URL as a `Location`."""
    return Location(path, settings) if is_url(path) else path


def scheme_of(url: str) -> InputScheme:
    """What reads a URL.

    Raises:
        UsageError: nothing does, or the URL cannot be.
    """
    name = url.partition("://")[0].lower()
    if name not in SCHEMES and name in BUILT_IN:
        importlib.import_module(BUILT_IN[name])
    if name not in SCHEMES:
        from dolma_pipeline.storage.other_schemes import register_known

        register_known()
    if name not in SCHEMES:
        known = ", ".join(sorted({*SCHEMES, *BUILT_IN}))
        raise UsageError(f"{url}: nothing here reads {name}://. There are: {known}, and plain paths.")
    SCHEMES[name].check(url)
    return SCHEMES[name]


def settings_of(path: str) -> Mapping[str, str]:
    """The settings that a location brings along."""
    return path.settings if isinstance(path, Location) else NO_SETTINGS


def open_stream(path: str, start: int = 0) -> BinaryIO:
    """The raw bytes of an input, from a byte on, to be read forward.

    Args:
        path: local, or a URL (a `Location` with its settings).

    Raises:
        FileNotFoundError: it is not there. RunError: the place refuses it. OSError: this machine's disk does.
    """
    if is_url(path):
        return scheme_of(path).stream(path, settings_of(path), start)
    file = open(path, "rb")  # noqa: SIM115 the reader's to close
    file.seek(start)
    return file


def read_head(path: str, size: int) -> bytes:
    """The first bytes of an input; else as `open_stream`."""
    if is_url(path):
        return scheme_of(path).head(path, settings_of(path), size)
    with open(path, "rb") as file:
        return file.read(size)


def open_random(path: str) -> BinaryIO:
    """An input to read anywhere, such as Parquet; else as `open_stream`."""
    return scheme_of(path).random(path, settings_of(path)) if is_url(path) else open(path, "rb")


def open_copy(path: str) -> BinaryIO:
    """An input that is read whole, and anywhere: a local file itself, else a copy in this process's scratch space."""
    if not is_url(path):
        return open(path, "rb")
    with open_stream(path) as file:
        return nameless(iter(lambda: file.read(COPY_BYTES), b""))


def stat(path: str) -> InputEntry | None:
    """What is known of an input at a URL; None if it is not there.

    Raises:
        UsageError: the URL cannot be, or the place refuses it.
    """
    return scheme_of(path).stat(path, settings_of(path))


def read_whole(path: str) -> bytes:
    """The content of a small input.

    Raises:
        As `open_stream`.
    """
    with open_stream(path) as file:
        return file.read()


@contextlib.contextmanager
def local_copy(path: str, scratch: Scratch) -> Iterator[Path]:
    """An input as a file of this machine for the block: itself, or a copy under its own name.

    Raises:
        As `open_stream`.
    """
    if not is_url(path):
        yield Path(path)
        return
    copy = scratch.path() / name_of(path)
    try:
        fetch(path, copy)
        yield copy
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)


def fetch(path: str, target: Path) -> None:
    """Copy an input to a file of this machine that is not there yet; its folder is made."""
    with open_stream(path) as file, told("written", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as copy:
            shutil.copyfileobj(file, copy, COPY_BYTES)


def put_local(target: Path, content: bytes) -> None:
    """Write what was read to a file of this machine."""
    with open(target, "xb") as copy:
        copy.write(content)


def name_of(path: str) -> str:
    """The last part of a path or URL, without a query."""
    if is_url(path) and scheme_of(path).question:
        path = path.partition("?")[0]
    return path.rpartition("/")[2]
