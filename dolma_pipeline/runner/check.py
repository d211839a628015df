"""Everything that can be known to be wrong is looked for before anything is started: names, files, rules, models."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dolma_pipeline.assets import is_path
from dolma_pipeline.config.recipe import Recipe, without_value
from dolma_pipeline.engines.beam_options import check_flags, check_runner, runner_in
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import given_columns, made_columns
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import artifacts_of, at, stages_in_order
from dolma_pipeline.stages.rules import used_sources
from dolma_pipeline.stages.tagger_files import given_files
from dolma_pipeline.storage.folder import RunFolder, run_folder, scheme_of


def check_output(recipe: Recipe) -> RunFolder:
    """The run's folder.

    Raises:
        ConfigError: it cannot be made or written, or is at a place where run folders cannot be, or that cannot be used.
    """
    if scheme_of(recipe.output) != "file":
        return _elsewhere(recipe)
    with at(recipe, "output"):
        path = Path(expanded(recipe.output.removeprefix("file://")))
        if path.exists() and not path.is_dir():
            raise UsageError(f"{recipe.output} is a file. Name a folder.")
        # The nearest folder that is there: the others are made in it. (`exists` is false below a file.)
        there = next(one for one in (path.absolute(), *path.absolute().parents) if os.path.lexists(one))
        if not there.is_dir():
            raise UsageError(f"output {recipe.output} cannot be made: {there} is not a folder.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UsageError(f"output {recipe.output} cannot be written: no permission in {there}.")
    return run_folder(str(path.absolute()))


def _elsewhere(recipe: Recipe) -> RunFolder:
    try:
        folder = run_folder(recipe.output, recipe.storage.settings() if recipe.storage else {})
        folder.check()
    except UsageError as error:  # a URL may hold a secret by mistake, so an override is not repeated
        raise ConfigError(f"{without_value(recipe.place('output'))}: {error}") from error
    return folder


def check_beam(recipe: Recipe, beam_options: Sequence[str] = ()) -> None:
    """Runner and options must be known. Those of another runner are left to it: its job server has some of its own.

    Args:
        recipe: with `beam`. beam_options: as on a Beam command line; a runner in them is used in place of the recipe's.

    Raises:
        ConfigError: a runner or an option of the recipe. UsageError: one of `beam_options`.
    """
    named = runner_in(beam_options)
    runner = named or recipe.beam.runner
    if runner != "local":
        with at(recipe, "beam.runner") if named is None else contextlib.nullcontext():
            check_runner(runner)
            from dolma_pipeline.engines.elsewhere import check_needed  # it loads Beam, as does what is above

            check_needed(runner, [*(f"--{k}={v}" for k, v in recipe.beam.options.items()), *beam_options])
        return
    for name, value in recipe.beam.options.items():
        with at(recipe, f"beam.{name}"):
            check_flags([f"--{name}={value}"])
    if beam_options:
        check_flags(beam_options)


def check_stages(process: Process, wanted: Sequence[str]) -> tuple[dict[str, Artifact], list[str]]:
    """Ask every stage what it makes and whether all is in order.

    Args:
        wanted: stages that this run makes; models and processes are looked at only for these.

    Returns:
        The artifacts by name, in order; and warnings, a sentence each.

    Raises:
        ConfigError: the first thing that is wrong, with its place and what is near.
    """
    recipe = process.run.recipe
    _check_taggers(process)
    for source in used_sources(process):
        with at(recipe, f"sources.{source}.attributes"):
            if twice := sorted({*made_columns(process)} & {*given_columns(process, source)}):
                raise ConfigError(
                    f"the attributes given for source '{source}' hold {twice[0]}, which this run makes itself. "
                    f"Give its tagger or dedupe step another name (`name:`), or leave one of the two out."
                )
    known: dict[str, Artifact] = {}
    warnings: list[str] = []
    for stage in stages_in_order():
        if not stage.used(process):
            continue
        with at(recipe, stage.name):
            warnings += stage.check(process)
        known |= artifacts_of(stage, process, known)
    _check_model(recipe, wanted)
    return known, warnings


def _check_taggers(process: Process) -> None:
    recipe = process.run.recipe
    for i, use in enumerate(recipe.tag.taggers if recipe.tag else ()):
        with at(recipe, f"tag.taggers.{i}"):
            process.tagger(use)


def _check_model(recipe: Recipe, wanted: Sequence[str]) -> None:
    """torch must be there if a model is trained or scored, and so many processes must be possible."""
    from dolma_pipeline.train import require_torch, resolve_processes

    trained = [("train", recipe.train), ("sft", recipe.sft), ("dpo", recipe.dpo)]
    scored = recipe.eval.stages if recipe.eval is not None and "eval" in wanted else ()
    for name, section in trained:
        if section is None:
            continue
        with at(recipe, f"{name}.processes"):
            if name in wanted or name in scored:
                require_torch()
            if section.processes != "auto" and name in wanted:
                resolve_processes(section)


def needed_assets(process: Process) -> list[str]:
    """Names of the models that the recipe's taggers need, sorted."""
    tag = process.run.recipe.tag
    return sorted(
        {name for use in (tag.taggers if tag else ()) for name in process.tagger(use).assets if not is_path(name)}
    )


def needed_files(process: Process) -> dict[str, str]:
    """Path or URL of each file of the user's that the recipe's taggers read -> its sha256."""
    tag = process.run.recipe.tag
    found: dict[str, str] = {}
    for use in tag.taggers if tag else ():
        found |= given_files(process, process.tagger(use))
    return found


def sizes_of(folder: RunFolder) -> Mapping[str, int]:
    """Name -> size of all files of a run's folder: one listing."""
    return {entry.name: entry.size for entry in folder.list()}
