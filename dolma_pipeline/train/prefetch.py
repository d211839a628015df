"""The next batch is read while a step computes, so that a slow disk costs nothing while it keeps up."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

from dolma_pipeline.train.data import Batch, Batches


class Prefetched:
    """Batches of another source, each read by a thread as soon as the one before is handed out.

    What is handed out is what the source gives when asked at that time: where the quarantine grew in between, the batch
    is read again. An error of the source is raised when its step is asked for. Cost: one more batch in memory.
    """

    def __init__(self, batches: Batches, *, last_step: int) -> None:
        """Read `batches` ahead, up to `last_step`."""
        self._batches, self._last_step = batches, last_step
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._next: tuple[int, frozenset[int], Future[Batch]] | None = None

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        """The batch of a step (from 1), as `Batches.read` gives it."""
        known, ahead = frozenset(masked), self._next
        self._next = None
        if ahead is not None and ahead[:2] == (step, known):
            batch = ahead[2].result()
        else:
            if ahead is not None:
                ahead[2].exception()  # done before the source is asked again; of a batch that nobody asks for
            batch = self._batches.read(step, masked=known)
        if step < self._last_step:
            self._next = step + 1, known, self._thread.submit(self._batches.read, step + 1, masked=known)
        else:
            self._thread.shutdown()
        return batch
