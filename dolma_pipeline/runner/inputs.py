"""The run's list of shards: those that it has, and new ones for new files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import DolmaError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.shards import Shard, plan_shards, read_shards, shard_lines
from dolma_pipeline.run import layout
from dolma_pipeline.run.stage import at
from dolma_pipeline.storage.folder import RunFolder


@dataclass(frozen=True)
class Inputs:
    """What a run reads. content: of its `shards.jsonl`."""

    shards: Sequence[Shard]

    @cached_property
    def content(self) -> bytes:
        """The list as it is written."""
        return shard_lines(self.shards)

    @cached_property
    def digest(self) -> str:
        """Hash of the list."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    @property
    def num_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def num_shards(self) -> int:
        """How many shards."""
        return len(self.shards)


def plan_inputs(recipe: Recipe, folder: RunFolder, *, redo: bool) -> Inputs:
    """The shards: those of the run's `shards.jsonl`, and new ones for new files.

    Raises:
        UsageError: a pattern that matches nothing, or files of the run's own folder; or the list has a file that the
            recipe does not read any more, or reads as another source, or that has another size (with `redo` a new list
            is made).
    """
    own = folder.local_path()
    for name, source in recipe.sources.items():
        with at(recipe, f"sources.{name}.documents"):
            for one in paths.find(source.documents):
                if own is not None and paths.identity(one.path).startswith(f"{own}{os.sep}"):
                    raise UsageError(
                        f"{one.path} lies in the run's own folder, so it cannot be an input of this run. "
                        f"Narrow {', '.join(source.documents)}, or put the output elsewhere."
                    )
    patterns = {name: source.documents for name, source in recipe.sources.items()}
    known: list[Shard] = []
    try:
        if folder.stat(layout.SHARDS) is not None:
            known = read_shards(folder.read(layout.SHARDS), f"{folder.url}/{layout.SHARDS}")
        for shard in known:
            if shard.source not in patterns:
                raise UsageError(
                    f"the run in {folder.url} reads {shard.path} as source '{shard.source}', and this recipe does not. "
                    "Put it back, use another output, or give --redo."
                )
        return Inputs(plan_shards(patterns, split_bytes=recipe.split_bytes, known=known))
    except DolmaError:
        if not redo or not known:
            raise
        return Inputs(plan_shards(patterns, split_bytes=recipe.split_bytes))
