"""A run's folder as it is looked at: its recipe, its shards, and what of it is finished. Nothing is read but manifests.

A look is at the mix that is called `mix`, whichever others the recipe has.
The folder's own list of shards counts, not what the patterns find now: a look is a look at what was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import made_columns
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed
from dolma_pipeline.run.stage import all_artifacts, resolved_recipe
from dolma_pipeline.runner.changes import changes
from dolma_pipeline.runner.check import check_output
from dolma_pipeline.runner.decide import Decision, decide
from dolma_pipeline.runner.modules import user_modules
from dolma_pipeline.stages.mixes import VERDICTS


@dataclass(frozen=True)
class SourceRows:
    """The documents of one source, in the order of its shards.

    first: number of the first of them over all sources. digest: of shards, rows and contents.
    """

    name: str
    first: int
    rows: int
    blocks: tuple[Block, ...]
    digest: str

    @property
    def shards(self) -> list[ShardAt]:
        """Its shards, in order."""
        return [shard for block in self.blocks for shard in block.shards]


@dataclass(frozen=True)
class Finished:
    """A folder in which verdicts are finished.

    process: of the run; its recipe is what the folder was made with. artifacts: all that the recipe makes, by name.
    """

    process: Process
    artifacts: Mapping[str, Artifact]

    @property
    def run(self) -> Run:
        """The run."""
        return self.process.run

    @cached_property
    def sources(self) -> dict[str, SourceRows]:
        """The sources that have shards, by name."""
        found: dict[str, SourceRows] = {}
        every: dict[str, list[Block]] = {}
        for block in blocks(indexed(self.run)):
            every.setdefault(block.shards[0].source, []).append(block)
        for name, own in every.items():
            known = [[shard.name, shard.rows, shard.sha256] for block in own for shard in block.shards]
            first = own[0].shards[0].first
            found[name] = SourceRows(name, first, sum(block.rows for block in own), tuple(own), digest(known))
        return found

    def state(self, name: str) -> Decision:
        """Whether an artifact is finished with the recipe's settings; its files are not looked for."""
        return decide(self.run, self.artifacts[name])

    def is_done(self, name: str) -> bool:
        """Whether the recipe makes this artifact, and it is finished."""
        return name in self.artifacts and self.state(name).state == "done"


def finished(recipe: Recipe) -> Finished:
    """The folder of a recipe.

    Raises:
        UsageError: nothing was run there, or not as far as the verdicts, or with other settings; says what to do.
    """
    if recipe.mix is None:
        raise UsageError(f"the recipe has no `mix`; its stages are {', '.join(recipe.stages())}.")
    found = begun(recipe)
    check_made(found, [VERDICTS])
    return found


def begun(recipe: Recipe) -> Finished:
    """The folder of a recipe, of which nothing but the list of shards is known to be there; see `check_made`.

    Raises:
        UsageError: nothing was run there.
    """
    modules = user_modules(recipe)
    recipe = resolved_recipe(recipe)
    folder = check_output(recipe)
    if folder.stat(layout.SHARDS) is None:
        raise UsageError(f"{recipe.output}: no run has begun there. First: dolma-pipeline mix RECIPE.")
    sha256 = hashlib.sha256(folder.read(layout.SHARDS)).hexdigest()
    process = Process.of(Run(recipe, folder, modules, f"sha256:{sha256}"))
    return Finished(process, all_artifacts(process))


def with_recipe(before: Finished, recipe: Recipe) -> Process:
    """The same folder with another recipe, of which only `mix` and `seed` differ: to bind its rules."""
    process = Process(replace(before.run, recipe=recipe))
    process.kept("made columns", lambda: made_columns(before.process))
    process.kept("sources", lambda: sorted(before.sources))
    return process


def check_made(found: Finished, names: Collection[str], *, command: str = "") -> None:
    """Hold that some artifacts, and all that they are made from, are finished; caches need not be there.

    Args:
        names: of artifacts that the recipe makes.
        command: that makes them; "": those that make the verdicts.

    Raises:
        UsageError: one is not, or was made with other settings; says what to do.
    """
    wanted = set(names)
    for artifact in reversed([*found.artifacts.values()]):
        if artifact.name in wanted:
            wanted |= {need.name for need in artifact.needs}
    left = [d for name in found.artifacts if name in wanted and not (d := found.state(name)).artifact.cache]
    left = [d for d in left if d.state != "done"]
    if not left:
        return
    output = found.run.recipe.output
    lines = list(dict.fromkeys(line for d in left if d.state == "changed" for line in changes(d.artifact, d.before)))
    if lines:
        what_if = "" if command else " and say what is to be changed with --what-if"
        raise UsageError(
            f"{output} holds work that was made with other settings:\n"
            + "".join(f"  {line}\n" for line in lines)
            + f"Put the settings back{what_if}, or make it: {command or 'dolma-pipeline mix RECIPE'} --redo."
        )
    states = ", ".join(f"{d.artifact.name} ({'not done' if d.state == 'new' else d.state})" for d in left[:5])
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    what = "the rules have not been asked" if VERDICTS in names else "not all that is asked for has been made"
    raise UsageError(
        f"{output}: {what} there yet; left to do: {states}{more}. "
        f"First: {command or 'dolma-pipeline run RECIPE (or tag, dedupe and mix)'}."
    )
