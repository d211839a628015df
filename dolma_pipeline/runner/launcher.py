"""From a recipe to a finished folder. The launcher reads names, counts and totals, never rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from dolma_pipeline import assets
from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config import resolved_yaml
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines import Here, Say
from dolma_pipeline.engines.choose import EngineChoice
from dolma_pipeline.engines.engine import to_stderr
from dolma_pipeline.engines.watchdog import stopped_by_signals
from dolma_pipeline.errors import RunError, UsageError, unknown_name
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import given_schemas
from dolma_pipeline.run.manifests import has_lines, read_lines
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.planner import Step, plan
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import artifacts_of, resolved_recipe, stages_in_order
from dolma_pipeline.runner.attach import attach as wait_for_job
from dolma_pipeline.runner.before import (
    budget_warnings,
    disk_warnings,
    refuse_unknown_formats,
    training_warnings,
)
from dolma_pipeline.runner.check import check_beam, check_output, check_stages, needed_assets, needed_files, sizes_of
from dolma_pipeline.runner.decide import (
    MODELS,
    Decision,
    check_order,
    decide,
    of_earlier_recipes,
    read_again,
    refuse_changes,
    wanted_artifacts,
    what_is_left,
)
from dolma_pipeline.runner.failures import check_failures
from dolma_pipeline.runner.gone import refuse_gone
from dolma_pipeline.runner.inputs import Inputs, plan_inputs, replaced_warnings
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.runner.modules import open_recipe, user_modules
from dolma_pipeline.runner.reach import check_reach
from dolma_pipeline.runner.ready import make_ready, tidy
from dolma_pipeline.runner.remembered import anew_warnings, forgotten, refuse_losses, stands_on_forgotten
from dolma_pipeline.runner.result import Result, read_result
from dolma_pipeline.runner.taken_up import taken_up
from dolma_pipeline.runner.versions import check_unchanged, check_versions, write_versions
from dolma_pipeline.stages.pseudonyms import key_marks
from dolma_pipeline.stages.tagger_files import copy_given
from dolma_pipeline.stages.warming import kernels_of
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.overlay import Overlay


def run(
    recipe: Recipe | str,
    *overrides: str,
    stages: Sequence[str] = (),
    redo: bool = False,
    dry_run: bool = False,
    beam_options: Sequence[str] = (),
    quiet: bool = False,
    attach: bool = False,
) -> Result:
    """Run a recipe, or some of its stages. What is done stays done; what was interrupted goes on.

    Args:
        recipe: a recipe, or the path of its YAML.
        overrides: `key=value`, for a path only.
        stages: which; () all that the recipe has.
        redo: make again what was made with other settings.
        dry_run: check everything, start nothing, write nothing.
        beam_options: as on a Beam command line.
        quiet: show no progress.
        attach: where a job of another launcher is at work in the folder, wait for its end, then go on.

    Raises:
        UsageError: anything wrong with the request; nothing was started.
        RunError: a run that broke; the same call resumes.
        TooManyFailuresError: all is written, but more documents or files failed than the recipe allows.
    """
    if isinstance(recipe, str):
        recipe = open_recipe(recipe, *overrides)
    elif overrides:
        raise UsageError("overrides go with a recipe's path; a Recipe object is changed with dataclasses.replace.")
    modules = user_modules(recipe)
    recipe = resolved_recipe(recipe)
    wanted = _wanted(recipe, stages)
    folder = check_output(recipe)
    check_beam(recipe, beam_options)
    check_reach(recipe, beam_options)
    base = Run(recipe, folder, modules)
    inputs = plan_inputs(recipe, folder, redo=redo)
    with ExitStack() as stack:
        stack.callback(Process.leave)  # the next run of this process may find other files behind the same names
        engines = EngineChoice(
            recipe,
            kernels=kernels_of(recipe, wanted, formats={shard.format for shard in inputs.shards}),
            num_bytes=inputs.num_bytes,
            num_shards=inputs.num_shards,
            beam_options=beam_options,
        )
        if not dry_run and not {*wanted} <= {*MODELS}:
            stack.enter_context(engines)  # it loads while the rest is checked
        checked = _check(base, inputs, wanted)
        made = _look(checked, wanted, redo=redo)
        if dry_run:
            planned = [d for d in made.left if not d.artifact.cache]
            return read_result(
                base, [*made.artifacts], planned=planned, shards=inputs.num_shards, warnings=made.warnings
            )
        if not made.left and not _is_untidy(folder):
            result = read_result(made.run, [*made.artifacts], nothing_to_do=True, wanted=wanted)
            check_failures(made.run, result)
            return result
        for text in made.warnings:
            print(f"warning: {text}", file=sys.stderr)
        stack.enter_context(stopped_by_signals())
        if attach:
            wait_for_job(folder, say=to_stderr)
        lock = stack.enter_context(RunLock(folder, engine=engines.runner))
        stack.callback(Process.leave)  # what is left of its logs is written while nobody else works here
        folder.remove_attempts()
        again = plan_inputs(recipe, folder, redo=redo)  # another run may have ended since
        checked = checked if again.content == inputs.content else _check(base, again, wanted)
        made = _look(checked, wanted, redo=redo)
        files = _work(made, again, engines, lock, say=None if quiet else to_stderr)
    result = read_result(made.run, [*made.artifacts], nothing_to_do=not made.left, wanted=wanted)
    for text in result.warnings():
        print(f"warning: {text}", file=sys.stderr)
    if others := of_earlier_recipes(files, made.artifacts.values()):
        print(
            f"warning: {folder.url} holds {', '.join(others)} of an earlier recipe, which this one does not have. "
            "No result of this run stands on it: delete it, or put it back into the recipe.",
            file=sys.stderr,
        )
    check_failures(made.run, result)
    return result


@dataclass(frozen=True)
class _Checked:
    """A recipe and its inputs, in which nothing is wrong. artifacts: what it makes, by name. warnings: what to say."""

    run: Run
    inputs: Inputs
    artifacts: dict[str, Artifact]
    warnings: Sequence[str]


@dataclass(frozen=True)
class _Plan:
    """What the recipe makes of its inputs, and what of it is there.

    artifacts: all, by name. wanted: names of those that this run makes. left: those of them that are not done.
    to_ready: those, and what else does not hold any more.
    """

    run: Run
    artifacts: dict[str, Artifact]
    decisions: Sequence[Decision]
    wanted: set[str]
    left: Sequence[Decision]
    to_ready: Sequence[Decision]
    other_content: bool
    warnings: Sequence[str]


def _check(base: Run, inputs: Inputs, wanted: Sequence[str]) -> _Checked:
    """Check all that can be wrong, and say what the recipe makes; writes nothing."""
    run = replace(base, shards_digest=inputs.digest)
    # Checks see the list of shards before the run's own list is touched.
    trial = replace(run, folder=Overlay(run.folder, {layout.SHARDS: inputs.content}))
    process = Process.of(trial)
    artifacts, warnings = check_stages(process, wanted)
    run = replace(run, given=given_schemas(process), key_marks=key_marks(process))
    lines = read_lines(run.folder, layout.INDEX) if has_lines(run.folder, layout.INDEX) else ()
    known = {line["shard"] for line in lines}
    warnings += [*refuse_unknown_formats(run, inputs, known), *replaced_warnings(inputs)]
    return _Checked(run, inputs, artifacts, [*warnings, *training_warnings(run.recipe)])


def _look(checked: _Checked, wanted: Sequence[str], *, redo: bool) -> _Plan:
    """Compare what the recipe makes with what is in the folder; writes nothing."""
    run, artifacts = checked.run, checked.artifacts
    stale = check_versions(run, checked.inputs, artifacts[layout.INDEX], redo=redo) if artifacts else frozenset[str]()
    sizes = sizes_of(run.folder)
    found = taken_up(Process.of(run), [decide(run, artifact, sizes) for artifact in artifacts.values()])
    names = {one.name for one in wanted_artifacts([*artifacts.values()], wanted)}
    refuse_losses(run, found, names, {shard.name for shard in checked.inputs.shards}, stale, sizes)
    decisions = forgotten([read_again(one, stale) for one in found])
    check_order(decisions, names)
    mine = [d for d in decisions if d.artifact.name in names]
    if not redo:
        refuse_changes(mine)
    left = what_is_left(mine)
    if checked.inputs.gone:
        by_name = {d.artifact.name: d.artifact for d in left}
        refuse_gone(Process.of(run), left, _steps(Process.of(run), artifacts, by_name), checked.inputs.gone, sizes)
    warnings = [*checked.warnings, *(_healing(d) for d in left if d.state == "heal"), *anew_warnings(left)]
    warnings += budget_warnings(run, checked.inputs, {d.artifact.name for d in left})
    warnings += disk_warnings(run, checked.inputs, {d.artifact.name: d.artifact for d in left if d.state != "heal"})
    # What stands on other content of a file than it has now goes, though another run will make it again.
    # So does what stands on verdicts that are decided anew: its own settings are the same.
    anew = stands_on_forgotten(decisions)
    to_ready = [
        d
        for d in decisions
        if d in left or (stale and d.state in ("grow", "again", "changed")) or d.artifact.name in anew
    ]
    return _Plan(run, artifacts, decisions, names, left, to_ready, bool(stale), warnings)


def _healing(one: Decision) -> str:
    count = len(one.missing)
    return f"{one.artifact.name}: {count:,} of its files {'is' if count == 1 else 'are'} missing or cut short " + (
        f"({one.missing[0]}{', …' if count > 1 else ''}); what they belong to is made again."
    )


def _work(made: _Plan, inputs: Inputs, engines: EngineChoice, lock: RunLock, *, say: Say | None) -> Collection[str]:
    """Make what is left; gives the names of the files that are there then."""
    run, folder = made.run, made.run.folder
    begin = time.monotonic()
    artifacts = [*made.artifacts.values()]
    shards = {shard.name: shard for shard in inputs.shards}
    make_ready(run, made.to_ready, artifacts, shards, other_content=made.other_content)
    folder.write(layout.SHARDS, inputs.content)
    folder.write(layout.RECIPE, resolved_yaml(run.recipe).encode())
    write_versions(run, inputs)
    if made.left:
        place, needed = folder.local_path(), needed_assets(Process.of(run))
        if place is not None:
            assets.copy_to(needed, place / layout.ASSETS)
        else:
            assets.upload(needed, lambda name, content: _put_once(folder, f"{layout.ASSETS}/{name}", content))
        copy_given(Process.of(run), needed_files(Process.of(run)))
        phases = _phases(made)
        with assets.folder_restored():
            if place is not None and (place / layout.ASSETS).is_dir():  # made after this process took up the run
                assets.use_folder(place / layout.ASSETS)
            spread = [phase for phase in phases if not phase.in_launcher]
            if spread:
                engines.engine(say, note=lock.names).run(run, spread, say=say)
                if layout.INDEX in made.artifacts:
                    check_unchanged(run, inputs, made.artifacts[layout.INDEX])
            Here().run(run, [phase for phase in phases if phase.in_launcher])
    sizes = sizes_of(folder)
    _check_made(made, sizes)
    keep_work = run.recipe.dedupe is not None and run.recipe.dedupe.keep_work
    folder.write("log/timings.json", pretty({"seconds": round(time.monotonic() - begin, 3)}))
    tidy(run, artifacts, keep_work=keep_work)
    return sizes


def _put_once(folder: RunFolder, name: str, content: bytes) -> None:
    """Write a file that is named after its content, unless it is there."""
    found = folder.stat(name)
    if found is None or found.size != len(content):
        folder.write(name, content)


def _check_made(made: _Plan, sizes: Mapping[str, int]) -> None:
    """What was made must be there, as its records say.

    Args:
        sizes: name -> size of all files of the folder.

    Raises:
        RunError: it is not, because something else writes or deletes in this folder.
    """
    for one in made.left:
        now = decide(made.run, one.artifact, sizes)
        if now.state != "done":
            what = f"{now.missing[0]} is gone, or has another size" if now.missing else f"it is {now.state}"
            raise RunError(
                f"{one.artifact.name} was made, but {what}: something else writes in {made.run.folder.url}. "
                "See to it that nothing does, and give the same command again; what is missing is made anew."
            )


def _phases(made: _Plan) -> list[Phase]:
    """The phases that make what is left."""
    steps = _steps(Process.of(made.run), made.artifacts, {d.artifact.name: d.artifact for d in made.left})
    done = {d.artifact.name for d in made.decisions if d.state == "done"}
    return plan(steps, done)


def _steps(process: Process, artifacts: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> list[Step]:
    """What makes what is left, in the order of the stages."""
    steps: list[Step] = []
    for stage in stages_in_order():
        if stage.used(process):
            own = artifacts_of(stage, process, artifacts)
            steps += stage.steps(process, artifacts, {n: a for n, a in own.items() if n in left})
    return steps


def _is_untidy(folder: RunFolder) -> bool:
    """Whether a run that was killed in its last moment left something, or the list of shards is gone."""
    return next(folder.list(layout.DONE), None) is not None or folder.stat(layout.SHARDS) is None


def _wanted(recipe: Recipe, stages: Sequence[str]) -> list[str]:
    for stage in [stages] if isinstance(stages, str) else stages:
        if stage not in recipe.stages():
            raise UsageError(
                f"the recipe has no `{stage}`; its stages are {', '.join(recipe.stages())}"
                if stage in {one.name for one in stages_in_order()}
                else unknown_name("stage", stage, [one.name for one in stages_in_order()])
            )
    found = [stages] if isinstance(stages, str) else list(stages or recipe.stages())
    mixes = [name for name in found if name in recipe.mixes()]
    if mixes and "tokenizer" not in found and recipe.tokenizer:
        found.insert(found.index(mixes[0]), "tokenizer")
    return found
