"""How a step that marks repeats is cut into tasks: by ranges of keys, and by pieces of a block of shards.

`max_memory` over `BYTES_A_KEY` is the keys that a task takes, of however many shards; what a task takes of a block is
the documents of at most `TEXT_BYTES` of text.
"""

from __future__ import annotations

from collections.abc import Iterator

from dolma_pipeline.dedup.edges import key_ranges
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.phase import Task
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt

BYTES_A_KEY = 200
"""A task needs ~100 bytes for each of its keys, and reads the files of a shard whole beside it."""
TEXT_BYTES = 256_000_000
"""Of the documents whose marks are held at once."""


def range_tasks(run: Run, artifact: str, what: str) -> Iterator[Task]:
    """A task for each range of keys; the key is `<range>-<ranges>`, the payload the range.

    Args:
        artifact: a finished one, which counts its keys. what: the name of the count.
    """
    manifest = read_manifest(run.folder, artifact) or {"counts": {}}
    count = sum(one.get(what, 0) for one in manifest["counts"].values())
    ranges = 1 + count * BYTES_A_KEY // run.recipe.max_memory
    for number, within in enumerate(key_ranges(ranges)):
        yield Task(f"{number:05d}-{ranges:05d}", max(1, count // ranges), within)


def portions(block: Block) -> Iterator[tuple[ShardAt, ...]]:
    """The shards of a block, some at a time: those of at most `TEXT_BYTES` of text, or one."""
    held: list[ShardAt] = []
    size = 0
    for shard in block.shards:
        if held and size + shard.num_bytes > TEXT_BYTES:
            yield tuple(held)
            held, size = [], 0
        held.append(shard)
        size += shard.num_bytes
    if held:
        yield tuple(held)
