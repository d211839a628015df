"""A file while it is written: hashed and counted on the way, so that a record needs no second reading."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any, BinaryIO

from dolma_pipeline.storage.faults import refused


class Committed(io.RawIOBase):
    """A file being written; what it holds is known when its block has ended.

    Closing it, as some writers do with what they were given, only ends the writing: the folder commits the file.

    Args:
        file: takes the bytes. place: what errors call it.

    Attributes:
        num_bytes: written so far.
    """

    def __init__(self, file: BinaryIO, place: str) -> None:
        self._file = file
        self._place = place
        self._process = os.getpid()
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(f"{self._place}: a file being written stays in its process")

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes (anything with the buffer interface).

        Raises:
            RunError: the disk is full, or refuses otherwise. ValueError: the file was closed, or its
                block has ended, or this is a forked copy of the process that opened it.
        """
        if self.closed:
            raise ValueError(f"{self._place}: written to after its end")
        self._check_process()
        view = memoryview(data).cast("B")
        try:  # not `told`: writers of columns write some bytes at a time, twenty times a file
            self._file.write(view)
        except OSError as error:
            raise refused("written", self._place, error) from error
        self._hash.update(view)
        self.num_bytes += len(view)
        return len(view)

    def end(self) -> None:
        """No more comes; for the folder, before it commits."""
        self._check_process()
        self.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ValueError(f"{self._place}: written by a copy of the process that opened it")

    def tell(self) -> int:
        """Bytes written so far."""
        return self.num_bytes

    @property
    def sha256(self) -> str:
        """Hex sha256 of what was written so far."""
        return self._hash.hexdigest()


Output = BinaryIO | Committed
"""What writers of formats write to."""
