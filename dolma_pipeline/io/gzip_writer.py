"""Gzip that is the same bytes for the same content, however it is written.

ISA-L, which reads gzip here, would write it faster. But it picks its code by the processor, and its output for one
content was seen to differ between two runs on one machine (1 byte of 373, once; no cause was found). So zlib writes.
"""

from __future__ import annotations

import zlib
from typing import Protocol

LEVEL = 1


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class GzipWriter:
    """One gzip member, without a name or a time; a context manager.

    Args:
        file: where to; it stays open.
    """

    def __init__(self, file: _Sink) -> None:
        self._file = file
        self._deflate: zlib._Compress | None = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def __enter__(self) -> GzipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        assert self._deflate is not None, "written to after its end"
        if out := self._deflate.compress(data):
            self._file.write(out)

    def close(self) -> None:
        """End the member; may be repeated."""
        if self._deflate is not None:
            self._file.write(self._deflate.flush())
            self._deflate = None
