"""Shuffles of large datasets in files that all processes of a machine map, instead of a copy in each.

At 2T tokens in sequences of 2,048 a shuffle has 3.9 GB; eight processes would hold 31 GB. Mapped, the pages are shared,
and a step reads those of its own batch. One process makes the file, the others wait for it; it gets its name once it is
whole, so a kill leaves nothing that is taken for one. Cost: 4 bytes an instance on disk for each epoch, and the same
in memory of the process that makes it, as long as that takes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.tokens.order import kept_shuffle, shuffle

MIN_INSTANCES = 2**22
"""Smaller datasets are shuffled in memory: 16 MB."""

_PREFIX = ".part-"
_CHUNK = 2**20


class StoredShuffles:
    """What `kept_shuffle` gives, from files in a folder where the dataset is large."""

    def __init__(self, folder: Path, *, min_instances: int = MIN_INSTANCES) -> None:
        """Keep files in `folder`, which is made when it is needed; several processes may use it at once."""
        self._folder, self._min_instances = folder, min_instances

    def __call__(self, num_instances: int, seed: int) -> NDArray[np.uint32]:
        """All instances in the order of one epoch, uint32 [num_instances], read-only."""
        if num_instances < self._min_instances:
            return kept_shuffle(num_instances, seed)
        path = self._folder / f"{num_instances}-{seed:x}"
        if not _is_whole(path, num_instances):
            self._folder.mkdir(parents=True, exist_ok=True)
            with _alone(self._folder) as alone:
                if alone:
                    for left in self._folder.glob(f"{_PREFIX}*"):
                        left.unlink()  # nobody else writes, so its writer was killed
                if not _is_whole(path, num_instances):
                    _write(path, num_instances, seed)
        return np.memmap(path, "<u4", mode="r", shape=(num_instances,))

    def remove(self) -> None:
        """Remove the files; who has mapped one keeps what it has."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _is_whole(path: Path, num_instances: int) -> bool:
    return path.is_file() and path.stat().st_size == 4 * num_instances


def _write(path: Path, num_instances: int, seed: int) -> None:
    # Memory from the kernel itself: it goes back at once, whatever the allocator keeps.
    with mmap.mmap(-1, 4 * num_instances) as memory:
        instances = np.frombuffer(memory, "<u4")
        for first in range(0, num_instances, _CHUNK):
            part = instances[first : first + _CHUNK]
            part[:] = np.arange(first, first + len(part), dtype=np.uint32)
        shuffle(instances, seed)
        del part, instances
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_PREFIX, delete=False) as file:
            try:
                file.write(memory)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """One process at a time; false where the file system knows no locks: then several may make the same file."""
    with open(folder / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            yield False
        else:
            yield True
