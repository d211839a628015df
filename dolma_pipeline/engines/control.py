"""The control folder: how the launcher and the workers of one machine talk, wherever the run's folder is.

    tasks/<phase>.tasks, .index   what a phase has to do, written once; a worker reads task i by its offset
    queue/<phase>                 the queue: a byte for each task that was taken
    log/<stream>/…                segments of logs (run/log.py)
    workers.txt                   what workers write to standard error
    scratch/                      workers' own disk space, of killed ones too

It is on this machine's disk (`$DOLMA_SCRATCH`, else the system's folder for temporary files), workers find it in
`DOLMA_CONTROL`, and it goes when the run has ended; what belongs to the run's log is handed over before.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xxhash

from dolma_pipeline.engines.logs import WORKERS_FILE, join_logs, keeping_logs
from dolma_pipeline.run.log import CONTROL
from dolma_pipeline.run.phase import Task
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.local import LocalFolder
from dolma_pipeline.storage.scratch import OwnFolder

MANY, FIRST, FIRST_OF = 40, 64, 5
"""Of so many tasks, at most so many, and one in so many, are dealt out before the heaviest."""
_INDEX = np.dtype([("offset", "<u8"), ("size", "<u8")])


class Control:
    """A control folder.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = LocalFolder(path, durable=False)

    @classmethod
    def here(cls) -> Control:
        """The one that this process's environment names."""
        return cls(Path(os.environ[CONTROL]))

    @property
    def workers_file(self) -> Path:
        """Takes what workers write to standard error."""
        return self.path / "workers.txt"

    @property
    def scratch(self) -> Path:
        """Where workers have their own disk space."""
        return self.path / "scratch"

    def write_tasks(self, phase: str, tasks: Iterable[Task]) -> int:
        """Write what a phase has to do, heaviest first, and an empty queue; gives the number of tasks.

        Of many tasks some come before all others, drawn by their keys: the heaviest are not like the rest, and from
        these few it is known early how long all will take.
        """
        sizes, weights = list[int](), list[int]()
        drawn = list[tuple[int, int]]()
        with self.folder.committing(f"tasks/{phase}.tasks") as file:
            for task in tasks:
                sizes.append(file.write(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)))
                heapq.heappush(drawn, (-xxhash.xxh3_64_intdigest(task.key.encode()), len(weights)))
                if len(drawn) > FIRST:
                    heapq.heappop(drawn)
                weights.append(task.weight)
        num_first = len(weights) // FIRST_OF if len(weights) >= MANY else 0
        first = [number for _, number in sorted(drawn, reverse=True)[:num_first]]
        index = np.zeros(len(sizes), _INDEX)
        index["size"] = sizes
        index["offset"][1:] = np.cumsum(index["size"])[:-1]
        rest = np.argsort(-np.array(weights, np.int64), kind="stable")
        order = np.concatenate([np.array(first, np.int64), rest[~np.isin(rest, first)]])
        self.folder.write(f"tasks/{phase}.index", index[order].tobytes())
        self.folder.write(f"queue/{phase}", b"")
        return len(sizes)

    def queued_tasks(self, phase: str) -> Iterator[Task]:
        """Those tasks of a phase that fall to this process, while others do the same.

        A task that was taken counts as taken even if it is never done, so whoever uses this must start over, with a
        new queue, when a process dies.

        Raises:
            OSError: the queue is not there, or the disk is full.
        """
        with self.folder.random(f"tasks/{phase}.index") as index, self.folder.random(f"tasks/{phase}.tasks") as tasks:
            while True:
                index.seek(_next_place(self.path / "queue" / phase) * _INDEX.itemsize)
                entry = index.read(_INDEX.itemsize)
                if not entry:
                    return
                offset, size = np.frombuffer(entry, _INDEX)[0].tolist()
                tasks.seek(offset)
                yield pickle.loads(tasks.read(size))

    def hand_over(self, folder: RunFolder) -> None:
        """Join all that belongs to a run's log into its folder."""
        worker_log = self.workers_file.read_bytes() if self.workers_file.exists() else b""
        join_logs(folder, segments=self.folder, workers=worker_log)


def _next_place(queue: Path) -> int:
    """Take the next place in the queue: appending a byte is atomic, and leaves the position after the own byte."""
    file = os.open(queue, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, b".")
        return os.lseek(file, 0, os.SEEK_CUR) - 1
    finally:
        os.close(file)


@contextlib.contextmanager
def controlling(folder: RunFolder) -> Iterator[Control]:
    """A control folder for the block; however it ends, its logs are in the run's folder then."""
    own = OwnFolder()
    control = Control(own.path)
    try:
        with keeping_logs(lambda: control.hand_over(folder)):
            yield control
    finally:
        own.close()


def kept_at(folder: RunFolder) -> str:
    """Where workers' words are when the run has ended."""
    return f"{folder.url}/{WORKERS_FILE}"
