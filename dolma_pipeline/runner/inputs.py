"""The run's list of shards: those that it has, and new ones for new files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import DolmaError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.shards import Shard, read_shards, shard_lines, shards_of
from dolma_pipeline.run import layout
from dolma_pipeline.run.stage import at
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.inputs import InputEntry


@dataclass(frozen=True)
class Inputs:
    """What a run reads. content: of its `shards.jsonl`.

    entries: source and path -> what the place says of a file that has a URL.
    """

    shards: Sequence[Shard]
    entries: Mapping[tuple[str, str], InputEntry] = field(default_factory=dict)

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


def _is_in(folder: RunFolder, path: str) -> bool:
    """Whether an input lies in the run's own folder."""
    own = folder.local_path()
    return paths.identity(path).startswith(f"{folder.url}/" if own is None else f"{own}{os.sep}")


def plan_inputs(recipe: Recipe, folder: RunFolder, *, redo: bool) -> Inputs:
    """The shards: those of the run's `shards.jsonl`, and new ones for new files.

    Raises:
        UsageError: a pattern that matches nothing, or files of the run's own folder; or the list has a file that the
            recipe does not read any more, or reads as another source, or that has another size (with `redo` a new list
            is made).
    """
    files: dict[str, list[paths.Found]] = {}
    for name, source in recipe.sources.items():
        with at(recipe, f"sources.{name}.documents"):
            files[name] = paths.find(source.documents, settings=recipe.input_settings())
            for one in files[name]:
                if _is_in(folder, one.path):
                    raise UsageError(
                        f"{one.path} lies in the run's own folder, so it cannot be an input of this run. "
                        f"Narrow {', '.join(source.documents)}, or put the output elsewhere."
                    )
    entries = {(name, one.relative): one.entry for name, found in files.items() for one in found if one.entry}
    known: list[Shard] = []
    try:
        if folder.stat(layout.SHARDS) is not None:
            known = read_shards(folder.read(layout.SHARDS), f"{folder.url}/{layout.SHARDS}")
        for shard in known:
            if shard.source not in files:
                raise UsageError(
                    f"the run in {folder.url} reads {shard.path} as source '{shard.source}', and this recipe does not. "
                    "Put it back, use another output, or give --redo."
                )
        return Inputs(shards_of(files, split_bytes=recipe.split_bytes, known=known), entries)
    except DolmaError:
        if not redo or not known:
            raise
        return Inputs(shards_of(files, split_bytes=recipe.split_bytes), entries)
