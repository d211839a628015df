"""A bucket of 100,000 keys that are made as they are asked for: what a listing costs the one who asks."""

from __future__ import annotations

from tests.dolma_pipeline.storage.fake_objects import Stored
from tests.dolma_pipeline.storage.fake_store import Handler

NUM_KEYS = 100_000


class ManyKeys(Handler):
    """One connection to it."""

    def page(self, keys: dict[str, Stored], after: str) -> tuple[list[tuple[str, Stored]], str]:
        """Keys are numbers; the next page begins behind the last one."""
        begin = int(after.rpartition("/")[2]) + 1 if after else 0
        one = Stored(b"1", '"tag"', 1, 1.0, {})
        page = [(f"run/records/{number:08}", one) for number in range(begin, min(begin + 1000, NUM_KEYS))]
        return page, page[-1][0] if begin + 1000 < NUM_KEYS else ""
