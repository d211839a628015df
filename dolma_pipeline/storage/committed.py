"""A file while it is written: hashed and counted on the way, so that a record needs no second reading."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO


class Committed(io.RawIOBase):
    """A file being written; what it holds is known when its block has ended.

    Attributes:
        num_bytes: written so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes (anything with the buffer interface)."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._file.write(view)
        self.num_bytes += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written so far."""
        return self.num_bytes

    @property
    def sha256(self) -> str:
        """Hex sha256 of what was written so far."""
        return self._hash.hexdigest()
