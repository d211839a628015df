"""Shards that are read where they lie, without a run that knows where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dolma_pipeline.io.shards import Shard, plan_shards


def planned(path: Path, *, split_bytes: int) -> list[Shard]:
    """The shards of one file, their path the file's own."""
    shards = plan_shards({"s": [str(path)]}, split_bytes=split_bytes)
    assert {shard.path for shard in shards} == {path.name}
    return [replace(shard, path=str(path)) for shard in shards]
