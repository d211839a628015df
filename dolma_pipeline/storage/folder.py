"""A run's folder, wherever it is: a dozen verbs over whole files.

Names are relative and separated by "/"; folders do not exist by themselves. A file that is written appears whole or
not at all, and the last one to write a name wins, so equal copies of a task do each other no harm. There is no
rename and no append. Only the launcher deletes, and only between pipelines.

Every verb raises UsageError for what cannot be a name (`names.checked`), and RunError for what the place refuses:
a full disk, a missing permission.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.committed import Committed

COPIED_AT_ONCE = 1 << 20
"""Bytes of a file that a copy holds in memory."""


class Entry(NamedTuple):
    """A file of a folder. version: another one where the file was written anew (a change time, an ETag).

    A store whose tag is a hash of the content gives equal content an equal version.
    """

    name: str
    size: int
    version: str


class RunFolder(ABC):
    """The folder of a run. Travels to workers as its URL and settings, never with a connection or a secret.

    Attributes:
        url: what `run_folder` opens again.
    """

    url: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content. FileNotFoundError if it is not there."""

    @abstractmethod
    def stream(self, name: str) -> BinaryIO:
        """A file to read from its start to its end, forward only. FileNotFoundError if it is not there."""

    @abstractmethod
    def random(self, name: str) -> BinaryIO:
        """A file to read anywhere (Parquet). FileNotFoundError if it is not there."""

    @abstractmethod
    def local(self, name: str) -> AbstractContextManager[Path]:
        """The file itself, or a copy of it on this machine's disk, for readers that want a path or a memory map."""

    @abstractmethod
    def stat(self, name: str) -> Entry | None:
        """What is known of a file; None if it is not there."""

    @abstractmethod
    def list(self, under: str = "") -> Iterator[Entry]:
        """The files whose names begin with `under` + "/" (or all), sorted by code points of the name; streamed."""

    @abstractmethod
    def committing(self, name: str) -> AbstractContextManager[Committed]:
        """A file to write that appears under `name` when the block ends well; its size and sha256 are known then."""

    def write(self, name: str, content: bytes) -> None:
        """Commit a small file."""
        with self.committing(name) as file:
            file.write(content)

    def put(self, name: str, path: Path) -> None:
        """Commit a copy of a file of this machine, which nobody changes meanwhile."""
        with self.committing(name) as file, open(path, "rb") as source:
            shutil.copyfileobj(source, file, COPIED_AT_ONCE)

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Commit a small file if none is there; False if one is. Exactly one of several at once gets True."""

    @abstractmethod
    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """Commit a small file over the one of this version; the new version, or None if it was changed or is gone.

        Exactly one of several who replace one version at once succeeds.
        """

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Take files away; those that are not there are left out. For the launcher alone."""

    @abstractmethod
    def delete_tree(self, under: str) -> None:
        """Take away all files below a name, which is not empty. For the launcher alone."""

    def remove_attempts(self) -> None:  # noqa: B027 most forms have nothing to do
        """Take away what attempts that died have left of files that were never whole. For the launcher alone."""

    def check(self) -> None:  # noqa: B027 most forms are there when they are asked
        """Ask the place whether it can be used, before any work; writes nothing. For the launcher alone.

        Raises:
            UsageError: it cannot: no credentials, no bucket, no permission, a store that cannot be reached.
        """

    def check_conditions(self) -> None:  # noqa: B027 most forms keep what `create` promises by themselves
        """Try whether `create` is for one alone, before a lock relies on it. For the launcher alone.

        Raises:
            UsageError: the store does not keep to it.
        """

    def local_path(self) -> Path | None:
        """The folder on this machine's disk, for what needs one (training, evals); None where it is elsewhere."""
        return None


Opener = Callable[[str, Mapping[str, str]], RunFolder]

SCHEMES: dict[str, Opener] = {}
"""Scheme -> what opens its folders. Another storage is one file that registers here."""


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; "file" for a path."""
    head, separator, _ = url.partition("://")
    return head.lower() if separator else "file"


def run_folder(url: str, settings: Mapping[str, str] | None = None) -> RunFolder:
    """Open a run's folder.

    Args:
        url: a path, `file://…`, `memory://name`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
        settings: of object stores, what is not secret: endpoint, region, account.

    Raises:
        UsageError: a scheme that run folders cannot have.
    """
    from dolma_pipeline.storage import local, memory, objects  # noqa: F401 they register their schemes

    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        raise UsageError(f"{url}: a run's folder cannot be at {scheme}://. There are: {', '.join(sorted(SCHEMES))}.")
    return SCHEMES[scheme](url, settings or {})
