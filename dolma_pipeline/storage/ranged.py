"""A file elsewhere that is read anywhere: what the place must do is to give the bytes of a range."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any


class RangedFile(io.RawIOBase):
    """A file of known size, of which each read is a range; what reads it asks for pieces of some size.

    Args:
        size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    @abstractmethod
    def _read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only where the file ends; the next read begins behind them."""

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
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """All that fits, unless the end comes before."""
        view = memoryview(buffer).cast("B")
        content = self._read(len(view))
        view[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """The rest."""
        return self._read(self._size - self._at)
