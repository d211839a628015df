"""A stage: one registered object that says what it makes and how. What is known of stages is asked of these alone."""

from __future__ import annotations

import contextlib
import re
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from dolma_pipeline.config import resolved
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import ConfigError, DolmaError, UsageError
from dolma_pipeline.registry import declared_by, keep_registry
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.planner import Step

if TYPE_CHECKING:
    from dolma_pipeline.run.process import Process
    from dolma_pipeline.run.shards import ShardAt


class MadeDocuments(NamedTuple):
    """A file of the run's folder with the documents of a shard. format: of `io.formats`. sha256: of the input."""

    name: str
    format: str
    sha256: str


class Stage(ABC):
    """One stage of a recipe.

    Attributes:
        name: its section in the recipe, its command, its row of the table.
        summary: one line for the help.
        section: of a stage from outside, the frozen dataclass of its section; built-in ones are fields of `Recipe`.
        after, before: names of the stages that come before it, and behind it, if the recipe has them.
        readings: readings of text whose time is shown in its row of the table.
        declared_in: the Python module that registered it, where that is not the module of its class.
    """

    name: str
    summary: str = ""
    section: type | None = None
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    declared_in: str = ""

    def used(self, process: Process) -> bool:
        """Whether the recipe has this stage."""
        recipe = process.run.recipe
        return self.name in recipe.sections or getattr(recipe, self.name, None) is not None

    def resolved(self, recipe: Recipe) -> Recipe:
        """The recipe with those keys of its section written out whose values follow from other keys; again, it changes
        nothing. Asked only where the recipe has the section."""
        return recipe

    def check(self, process: Process) -> Sequence[str]:
        """Whatever can be known to be wrong before the run.

        Returns:
            Warnings, a sentence each.

        Raises:
            UsageError: what cannot work, with its place in the recipe.
        """
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """What it makes, in order; `known`: artifacts of the stages before, and of its own, by name."""
        return ()

    def columns(self, process: Process) -> Mapping[str, pa.StructType]:
        """Attribute columns that it makes, label -> struct type, known before anything has run.

        The files of a label are the artifact `attributes/<label>`. Rules and edits may name them: those of a stage
        that comes after `judge` are asked when duplicates are marked.
        """
        return {}

    def document_artifacts(self, process: Process) -> Mapping[str, str]:
        """Sources whose documents it makes, from their inputs, and the artifact that holds them."""
        return {}

    def documents(self, process: Process, shard: ShardAt) -> MadeDocuments:
        """Where the documents of a shard of such a source are, once they are made."""
        raise NotImplementedError(f"stage {self.name} makes no documents")

    def begun(self, process: Process, artifact: Artifact, *, needs_done: bool) -> Sequence[str] | None:
        """What an unfinished artifact's folder holds that is worth keeping, whoever made it: of work that goes on from
        its own files, not from records of this program. Asked where the artifact has no manifest.

        Args:
            needs_done: all that it is made from is done; if not, only whether there is anything is asked.

        Returns:
            None: nothing. Else `key: old -> new` for each setting that it was made with and that is another now; none:
            it fits, and work goes on from there.
        """
        return None

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """The phases and consumers that make those of its artifacts that are `left`."""
        return ()


STAGES: dict[str, Stage] = {}
"""Every stage of this process, by name, in the order in which they were registered."""
keep_registry(STAGES)


def register(stage: Stage) -> Stage:
    """Make a stage known.

    Raises:
        UsageError: another one of this name is.
    """
    before = STAGES.get(stage.name)
    if before is not None and type(before) is not type(stage):
        raise UsageError(f"stage '{stage.name}' is registered twice: {type(before)!r} and {type(stage)!r}")
    STAGES[stage.name] = stage
    return stage


def stages_in_order() -> list[Stage]:
    """All stages, each behind those that it comes after."""
    left, found = dict(STAGES), list[Stage]()
    after = {name: {*one.after, *(o.name for o in left.values() if name in o.before)} for name, one in left.items()}
    while left:
        ready = [one for one in left.values() if not after[one.name] & {*left}]
        if not ready:
            raise UsageError(f"the stages {', '.join(sorted(left))} come after each other in a circle")
        for one in ready:
            found.append(one)
            del left[one.name]
    return found


def resolved_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every default written out, those of sections of stages from outside too (`config.resolved`)."""
    recipe = resolved(recipe)
    for name in recipe.sections:
        if name in STAGES:
            recipe = STAGES[name].resolved(recipe)
    return recipe


def artifacts_of(stage: Stage, process: Process, known: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """What a stage makes, by name; of a stage from outside the hash of its file is among what it depends on.

    What holds documents of sources says so: it is made again where their inputs have another content.
    """
    sources: dict[str, list[str]] = {}
    for source, name in stage.document_artifacts(process).items():
        sources.setdefault(name, []).append(source)
    files = module_files(process, f"stage {stage.name}", type(stage).__module__)
    found: dict[str, Artifact] = {}
    for one in stage.artifacts(process, known):
        needs = tuple(found.get(need.name, need) for need in one.needs)  # those of its own with their files, too
        own = tuple(sorted({*one.sources, *sources.get(one.name, ())}))
        whole = replace(one, needs=needs, files={**one.files, **files}, sources=own if sources else one.sources)
        found[one.name] = whole if files or sources else one
    return found


def columns_of(process: Process, *, behind: str = "") -> dict[str, pa.StructType]:
    """Attribute columns that the recipe's stages make, in order; behind: those of stages behind this one alone."""
    stages = stages_in_order()
    first = next((i + 1 for i, one in enumerate(stages) if one.name == behind), 0)
    found: dict[str, pa.StructType] = {}
    for stage in stages[first:]:
        if stage.used(process):
            found.update(stage.columns(process))
    return found


def maker_of(process: Process, source: str) -> Stage | None:
    """The stage that makes a source's documents; None where they are its inputs."""

    def look() -> dict[str, Stage]:
        return {name: one for one in stages_in_order() if one.used(process) for name in one.document_artifacts(process)}

    return process.kept("makers of documents", look).get(source)


def all_artifacts(process: Process) -> dict[str, Artifact]:
    """All that the run's recipe makes, by name, in order."""
    known: dict[str, Artifact] = {}
    for stage in stages_in_order():
        if stage.used(process):
            known |= artifacts_of(stage, process, known)
    return known


@contextlib.contextmanager
def at(recipe: Recipe, key: str) -> Iterator[None]:
    """Errors of the block begin with the place of `key` in the recipe's file, and name the key once.

    One that begins with a place in that file already knows better where it belongs.
    """
    try:
        yield
    except DolmaError as error:
        place = recipe.place(key)
        file = re.match(r"(.*):\d+: ", place)
        if not place or (file and re.match(rf"{re.escape(file[1])}:\d+: ", str(error))):
            raise
        raise ConfigError(f"{place}: {str(error).removeprefix(f'{key}: ')}") from error


def module_files(process: Process, what: str, module: str) -> dict[str, str]:
    """The user's file that declares something, with its hash, as `Artifact.files` has it; none for what is built in.

    Args:
        what: what is declared there, such as `tagger shouting_v1`. module: the Python module of its declaration.
    """
    declaring = declared_by(module, process.run.modules)
    if declaring is None:
        return {}
    name = declaring.name.rpartition("/")[2]  # not its folder: a run that is copied elsewhere is the same run
    return {f"modules: {name} ({what})": declaring.sha256}
