"""A run as a value: a recipe, a folder, the user's modules. Small enough to travel to every worker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.registry import UserModule
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.storage.folder import RunFolder


@dataclass(frozen=True)
class Run:
    """A recipe in a folder.

    Args:
        recipe: what to do.
        folder: the run's own folder; a `RunFolder`, which travels as its URL.
        modules: the user's modules; files travel as text.
        shards_digest: `sha256:…` of the run's list of shards.
        given: source, attribute folder, Arrow schema (serialized) of what that folder has: the launcher looks once, so
            that workers need not open each file. What is not listed is looked at where it is asked for.
        key_marks: place of a key of pseudonyms, and by what the launcher's key is told from others.
    """

    recipe: Recipe
    folder: RunFolder
    modules: tuple[UserModule, ...] = ()
    shards_digest: str = ""
    given: tuple[tuple[str, str, bytes], ...] = ()
    key_marks: tuple[tuple[str, str], ...] = ()

    @cached_property
    def digest(self) -> str:
        """Equal for equal recipes, modules and shards in one folder: what caches of a process are keyed by."""
        return digest([self.folder.url, repr(self.recipe), [m.sha256 for m in self.modules], self.shards_digest])

    @property
    def sql_bytes(self) -> int:
        """DuckDB's share of `max_memory`: a quarter, 250 MB at least."""
        return max(250_000_000, self.recipe.max_memory // 4)
