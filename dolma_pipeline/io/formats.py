"""What a format of documents is, and which one a file has.

A format is one object that registers itself under a name: `jsonl` and `parquet` are ours; others come from a module
that a recipe names, or from the entry-point group `dolma_pipeline.formats` of an installed distribution. A file is
recognized by its first bytes, then by its ending; what nothing recognizes is read as JSON lines, whose failures say
why. Cost: one look at the first 4 KB of each file, about 0.03 ms on a local disk.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.storage.inputs import is_url, open_stream, read_head, stat

if TYPE_CHECKING:
    from dolma_pipeline.io.jsonl import Report
    from dolma_pipeline.io.shards import Shard

GROUP = "dolma_pipeline.formats"
"""The entry-point group of formats from other distributions; an entry names a module that calls `register`."""

HEAD_BYTES = 4096
_BUILT_IN = ("dolma_pipeline.io.format_parquet", "dolma_pipeline.io.format_jsonl")
COMPRESSIONS = (".gz", ".zst", ".zstd")
"""Endings that stand behind that of a format."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file that is worked on alone.

    start, end: in the format's own unit, end exclusive. bytes: of the part, for sharing out work.
    lines_before: lines of the file that start before `start`, where lines are counted.
    """

    start: int
    end: int
    bytes: int
    lines_before: int = 0


class Reading(ABC):
    """One reading of a shard in some format: iterate once for its batches.

    Rows are numbered from 0 through the batches, the same each time. A row that gives no document is reported with
    its place. A file that cannot be read to its end gives what came before, then reports a failure with `lost=True`
    (or raises `streams.Damaged`, which becomes one). A file that is not there, and what else the system says of it,
    stays an `OSError`.

    Args:
        shard: what to read. report: called with each failure. fields: our column -> the input's key or column.

    Attributes:
        location: where the file is; the caller sets it, before the first batch, where it is not the shard's path.
        only: places (`Batch.locs`, ascending) of the documents that are wanted, or None; the caller sets it. A format
            that can leave others out may do so, and then numbers rows among those that it gives; its hash is not asked.
        sha256: hex digest of the raw bytes, where they were hashed on the way; else None, and the caller does it.
    """

    def __init__(self, shard: Shard, *, report: Report, fields: Mapping[str, str]) -> None:
        self.shard, self.report, self.fields = shard, report, fields
        self.location = shard.path
        self.only: Sequence[int] | None = None
        self.sha256: str | None = None

    def open(self) -> BinaryIO:
        """The raw bytes of the shard's file, from the file's start, to be read forward."""
        return open_stream(self.location)

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...


class DocumentFormat(ABC):
    """A format of documents.

    Attributes:
        name: stands in `shards.jsonl`. endings: of file names, lower case, with their dot; they are not part of
            shard names.
    """

    name: str
    endings: tuple[str, ...]

    @abstractmethod
    def recognizes(self, head: bytes, name: str) -> bool:
        """Whether a file is of this format, by its first raw bytes (a name is not reason enough).

        Args:
            head: a few KB, or the whole of a smaller file. name: the file's path.
        """

    @abstractmethod
    def plan(self, path: str, size: int, split_bytes: int) -> list[Range] | None:
        """Ranges of about `split_bytes` that cover a file of `size` bytes; None if it is worked on as a whole.

        `path` may be a URL: `storage.inputs.open_stream` and `open_random` open it.
        A damaged file is not an error here: it is worked on as a whole, and its reading says what is wrong.
        """

    @abstractmethod
    def read(self, shard: Shard, *, report: Report, fields: Mapping[str, str]) -> Reading:
        """The documents of a shard of this format."""

    def range_bytes(self, path: str) -> int:
        """What `bytes` of all ranges of a file add up to."""
        entry = stat(path) if is_url(path) else None
        return os.stat(path).st_size if entry is None else entry.size


FORMATS: dict[str, DocumentFormat] = {}
"""Every format registered in this process, by name."""


def register(document_format: DocumentFormat) -> None:
    """Make a format known under its name.

    Raises:
        UsageError: another module has registered that name.
    """
    name, module = document_format.name, type(document_format).__module__
    before = FORMATS.get(name)
    if before is not None and type(before).__module__ != module:
        raise UsageError(
            f"format '{name}' is registered twice: in {type(before).__module__} and in {module}. Rename yours."
        )
    FORMATS[name] = document_format


def document_format(name: str) -> DocumentFormat:
    """The format of a name.

    Raises:
        UnknownNameError: there is none; says what is near.
    """
    _load_entry_points()
    if name not in FORMATS:
        raise UnknownNameError("document format", name, FORMATS, hint="Its module must be installed, or in `modules`.")
    return FORMATS[name]


def known_formats() -> list[DocumentFormat]:
    """All formats, in the order in which a file is offered to them: others' by name, then Parquet, then JSON lines."""
    _load_entry_points()
    last = ["parquet", "jsonl"]
    return [FORMATS[name] for name in [*sorted(FORMATS.keys() - set(last)), *last]]


def recognized(head: bytes, name: str) -> DocumentFormat | None:
    """The first format that recognizes these first bytes; None if none does."""
    return next((format_ for format_ in known_formats() if format_.recognizes(head, name)), None)


def format_of(path: str) -> DocumentFormat:
    """The format of a file: by its first bytes, else by its ending, else JSON lines."""
    by_content = recognized(read_head(path, HEAD_BYTES), path)
    if by_content is not None:
        return by_content
    name = path.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    by_ending = (format_ for format_ in known_formats() if any(name.endswith(ending) for ending in format_.endings))
    return next(by_ending, FORMATS["jsonl"])


def endings() -> tuple[str, ...]:
    """Endings that are not part of a shard's name, in the order in which they are taken off: ours, then others'."""
    ours = [ending for name in ("jsonl", "parquet") for ending in document_format(name).endings]
    others = sorted({ending for format_ in known_formats() for ending in format_.endings} - set(ours))
    return (*COMPRESSIONS, *ours, *others)


@functools.cache
def _load_entry_points() -> None:
    """Import our formats, then those of installed distributions, in order of name: the same in every process."""
    for module in _BUILT_IN:
        importlib.import_module(module)
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        distribution = point.dist.name if point.dist is not None else "an unknown distribution"
        what = f"module '{point.module}' (entry point '{point.name}' of {distribution})"
        try:
            importlib.import_module(point.module)
        except ModuleNotFoundError as error:
            raise UsageError(f"{what} needs the module '{error.name}', which is not installed.") from error
        except Exception as error:
            error.add_note(f"while importing {what}")
            raise
