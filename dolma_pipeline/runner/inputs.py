"""The run's list of shards: those that it has, and new ones for new files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import DataError, DolmaError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gone import Gone
from dolma_pipeline.io.shards import Shard, read_shards, shard_lines, shards_of
from dolma_pipeline.run import layout
from dolma_pipeline.run.stage import at
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.inputs import InputEntry


@dataclass(frozen=True)
class Inputs:
    """What a run reads. content: of its `shards.jsonl`.

    entries: source and path -> what the place says of a file that has a URL. gone: names of shards of which no file is
    opened any more. replaced: files among them that are there, and have another size than what was read.
    """

    shards: Sequence[Shard]
    entries: Mapping[tuple[str, str], InputEntry] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    replaced: Sequence[str] = ()

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
            is made); or `gone` names nothing that was read, or something that was not.
    """
    files: dict[str, list[paths.Found]] = {}
    gone: dict[str, Gone] = {}
    known: list[Shard] = []
    if folder.stat(layout.SHARDS) is not None:
        try:
            known = read_shards(folder.read(layout.SHARDS), f"{folder.url}/{layout.SHARDS}")
        except DataError:
            if not redo:
                raise
    for name, source in recipe.sources.items():
        with at(recipe, f"sources.{name}.gone"):
            gone[name] = Gone(source.gone, source.documents, recipe.input_settings())
        emptied = gone[name].emptied(one.path for one in known if one.source == name)
        with at(recipe, f"sources.{name}.documents"):
            files[name] = paths.find(source.documents, settings=recipe.input_settings(), gone=emptied)
            gone[name].check(files[name])
            for one in files[name]:
                if _is_in(folder, one.path):
                    raise UsageError(
                        f"{one.path} lies in the run's own folder, so it cannot be an input of this run. "
                        f"Narrow {', '.join(source.documents)}, or put the output elsewhere."
                    )
    entries = {(name, one.relative): one.entry for name, found in files.items() for one in found if one.entry}

    def is_gone(source: str, path: str) -> bool:
        return bool(recipe.sources[source].gone) and gone[source](path)

    _check_named(recipe, gone, known, folder)
    try:
        for shard in known:
            if shard.source not in files:
                raise UsageError(
                    f"the run in {folder.url} reads {shard.path} as source '{shard.source}', and this recipe does not. "
                    "Put it back, use another output, or give --redo."
                )
        shards = shards_of(files, split_bytes=recipe.split_bytes, known=known, is_gone=is_gone)
    except DolmaError:
        left = [one for one in known if one.source in files and is_gone(one.source, one.path)]
        if not redo or not known:
            raise
        shards = shards_of(files, split_bytes=recipe.split_bytes, known=left, is_gone=is_gone)
    sizes = {(one.source, one.path): one.file_bytes for one in known}
    replaced = [
        one.path
        for name, found in files.items()
        for one in found
        if is_gone(name, one.relative) and one.size != sizes[name, one.relative]
    ]
    return Inputs(shards, entries, frozenset(one.name for one in shards if is_gone(one.source, one.path)), replaced)


def replaced_warnings(inputs: Inputs) -> list[str]:
    """A line where new data may lie under the name of a file that is not opened any more."""
    if not inputs.replaced:
        return []
    first, num_more = inputs.replaced[0], len(inputs.replaced) - 1
    more = f" (and {num_more} more)" if num_more else ""
    return [
        f"{first}{more}: `gone` names it, and it has another size than what was read under that name. It is not read. "
        "Give new documents a file with a name of its own."
    ]


def _check_named(recipe: Recipe, gone: Mapping[str, Gone], known: Sequence[Shard], folder: RunFolder) -> None:
    """Every pattern of `gone` must name a file of the run's list of shards.

    Raises:
        UsageError: one does not.
    """
    for name, source in recipe.sources.items():
        named = [gone[name].naming(path) for path in dict.fromkeys(one.path for one in known if one.source == name)]
        for number, pattern in enumerate(source.gone):
            if not any(one[number] for one in named):
                with at(recipe, f"sources.{name}.gone"):
                    raise UsageError(
                        f"{pattern}: no file of source {name} that the run in {folder.url} has read is called so. "
                        "`gone` is of files that were read; take it out."
                    )
