"""A file of this machine in memory: its pages come when they are touched, and can be given back.

The file is not kept open, so that thousands can be mapped at once whatever `ulimit -n` says.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from pathlib import Path

import pyarrow as pa


class Mapped:
    """A file, mapped for reading; the mapping goes with the last use of its buffer.

    Args:
        path: local.

    Attributes:
        buffer: all of it.
    """

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file:
            self.buffer: pa.Buffer = file.read_buffer()

    def release(self) -> None:
        """Give back the pages that were touched; they are read again if they are touched again."""
        advice = getattr(mmap, "MADV_DONTNEED", None)
        if advice is not None and self.buffer.size:  # else the system takes them when it needs them
            _libc().madvise(ctypes.c_void_p(self.buffer.address), ctypes.c_size_t(self.buffer.size), advice)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
