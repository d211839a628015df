"""Copies of inputs in scratch, in files without a name: they go when they are closed, or when the process ends."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.scratch import Scratch

_SCRATCH = Scratch()
PIECE_BYTES = 8_000_000


def nameless(chunks: Iterable[Any]) -> BinaryIO:
    """A file with these bytes, at its start; the reader closes it.

    Raises:
        RunError: the disk does not take it.
    """
    with told("written", _SCRATCH.folder):
        copy = tempfile.TemporaryFile(dir=_SCRATCH.folder)  # noqa: SIM115 the reader's to close
    try:
        for chunk in chunks:
            with told("written", _SCRATCH.folder):
                copy.write(chunk)
        with told("written", _SCRATCH.folder):
            copy.flush()
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return cast(BinaryIO, copy)


class Held(io.RawIOBase):
    """A file that is read by ranges, of which one part can be held in scratch: what lies in it is asked for once.

    Args:
        file: read anywhere, a request for every read.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        self._file, self._at = file, 0
        self._part: BinaryIO | None = None
        self._first = self._last = 0

    def hold(self, first: int, last: int) -> None:
        """Fetch the bytes from `first` to before `last`."""
        self._drop()
        self._file.seek(first)
        pieces = [PIECE_BYTES] * ((last - first) // PIECE_BYTES) + [(last - first) % PIECE_BYTES]
        self._part = nameless(self._file.read(size) or b"" for size in pieces if size)
        self._first, self._last = first, last

    def _drop(self) -> None:
        if self._part is not None:
            self._part.close()
        self._part = None

    def close(self) -> None:
        """Let go of it."""
        self._drop()
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; nothing is read."""
        self._at = self._at + offset if whence == io.SEEK_CUR else self._file.seek(offset, whence)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Bytes of the held part, else of the file: one request."""
        view = memoryview(buffer).cast("B")
        content = self._read(len(view))
        view[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """The rest."""
        self._file.seek(self._at)
        content = self._file.readall()
        self._at += len(content)
        return content

    def _read(self, size: int) -> bytes:
        if self._part is not None and self._first <= self._at < self._last:
            self._part.seek(self._at - self._first)
            content = self._part.read(min(size, self._last - self._at))
        else:
            self._file.seek(self._at)
            content = self._file.read(size) or b""
        self._at += len(content)
        return content


def hold(file: object, first: int, last: int) -> None:
    """Fetch a part of a file at once, where it is one that is read by ranges."""
    if isinstance(file, Held) and first < last:
        file.hold(first, last)
