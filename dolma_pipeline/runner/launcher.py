"""From a recipe to a finished folder. The launcher reads names, counts and totals, never rows."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson

from dolma_pipeline import assets
from dolma_pipeline.config import load_recipe, resolved_yaml
from dolma_pipeline.config.recipe import STAGES, Recipe
from dolma_pipeline.errors import TooManyFailuresError, UsageError, unknown_name
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.io.shards import Shard, write_shards
from dolma_pipeline.kernels.warm import ensure, is_ready
from dolma_pipeline.runner.beam_options import runner_in
from dolma_pipeline.runner.check import check_beam, check_names, check_output, needed_assets, plan_inputs, user_modules
from dolma_pipeline.runner.compose import steps_for
from dolma_pipeline.runner.decide import Decision, decide, leftovers, make_ready, refuse_changes
from dolma_pipeline.runner.forks import ForkServer, can_fork, shared_taggers
from dolma_pipeline.runner.local import num_workers, run_on_beam
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.runner.model import eval_unit, run_eval, run_train, train_unit
from dolma_pipeline.runner.result import Result, read_result
from dolma_pipeline.runner.watchdog import stopped_by_signals
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.units import Unit, shards_digest, units_of
from dolma_pipeline.stages.warming import kernels_of


def run(
    recipe: Recipe | str,
    *overrides: str,
    stages: Sequence[str] = (),
    redo: bool = False,
    dry_run: bool = False,
    beam_options: Sequence[str] = (),
    quiet: bool = False,
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

    Raises:
        UsageError: anything wrong with the request; nothing was started.
        RunError: a run that broke; the same call resumes.
        TooManyFailuresError: all is written, but more documents failed than `max_failed_share`.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, *overrides)
    elif overrides:
        raise UsageError("overrides go with a recipe's path; a Recipe object is changed with dataclasses.replace.")
    wanted = _wanted(recipe, stages)
    folder = check_output(recipe)
    check_beam(recipe, beam_options)
    context = RunContext(recipe, str(folder), user_modules(recipe))
    shards = plan_inputs(recipe, folder, redo=redo)
    workers = num_workers(recipe, num_bytes=sum(s.bytes for s in shards), num_shards=len(shards))
    with ExitStack() as stack:
        local = (runner_in(beam_options) or recipe.beam.runner) == "local" and not {*wanted} <= {"train", "eval"}
        kernels = kernels_of(recipe, wanted, formats={shard.format for shard in shards})
        forks = None
        copies = local and workers > 1 and not dry_run and can_fork()
        if copies and is_ready(kernels):  # it loads while the rest is checked
            forks = stack.enter_context(_fork_server(recipe, kernels))
        plan = _plan(context, shards, wanted)
        work = _look(context, plan, wanted, redo=redo)
        if dry_run:
            return read_result(context, work.names, planned=[*work.left, *work.left_model], shards=len(shards))
        if not work.left and not work.left_model and not leftovers(context, work.decisions):
            result = read_result(context, work.names, nothing_to_do=True, wanted=wanted)
            _check_failures(recipe, result)
            return result
        stack.enter_context(stopped_by_signals())
        stack.enter_context(RunLock(folder))
        again = plan_inputs(recipe, folder, redo=redo)  # another run may have ended since
        plan = plan if again == shards else _plan(context, again, wanted)
        work = _look(context, plan, wanted, redo=redo)
        for rest in leftovers(context, work.decisions):
            shutil.rmtree(rest, ignore_errors=True)
        write_shards(folder / "shards.jsonl", plan.shards)
        paths.write_bytes(folder / "recipe.yaml", resolved_yaml(recipe).encode())
        begin = time.monotonic()
        if work.left:
            assets.copy_to(needed_assets(context), folder / "assets")
            make_ready(context, work.left, plan.listed)
            steps = steps_for(context, [d.unit for d in work.left])
            if local:
                kernels = kernels_of(recipe, [d.unit.stage for d in work.left], formats={s.format for s in shards})
                ensure(kernels, say=None if quiet else _say)
            if copies and forks is None:
                forks = stack.enter_context(_fork_server(recipe, kernels))
            with assets.folder_restored():
                run_on_beam(context, steps, workers=workers, beam_options=beam_options, quiet=quiet, forks=forks)
        if forks:
            forks.close()
        make_ready(context, work.left_model, plan.listed)
        for one in work.left_model:
            (run_train if one.unit.stage == "train" else run_eval)(context, one.unit)
        paths.write_bytes(folder / "log" / "timings.json", pretty({"seconds": round(time.monotonic() - begin, 3)}))
    result = read_result(context, work.names, nothing_to_do=not work.left and not work.left_model, wanted=wanted)
    _check_failures(recipe, result)
    return result


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fork_server(recipe: Recipe, kernels: Sequence[str]) -> ForkServer:
    shared = shared_taggers(recipe)
    users = {use.tagger for use in recipe.tag.taggers} - {*shared} if recipe.tag else set()
    return ForkServer(shared, kernels=kernels, tidy=bool(users))


@dataclass(frozen=True)
class _Plan:
    """What the recipe makes of its inputs, whatever is in the folder. listed: digest of the list of shards."""

    shards: Sequence[Shard]
    listed: str
    units: Sequence[Unit]
    model_units: Sequence[Unit]


def _plan(context: RunContext, shards: Sequence[Shard], wanted: Sequence[str]) -> _Plan:
    """Check all that can be wrong; writes nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        # Checks see the list of shards before the run's own list is touched.
        write_shards(Path(scratch) / "shards.jsonl", shards)
        trial = RunContext(context.recipe, scratch, context.modules)
        check_names(trial, wanted)
        units = units_of(trial)
        listed = shards_digest(trial)
    return _Plan(shards, listed, units, _model_units(context, {u.name: u for u in units}))


@dataclass(frozen=True)
class _Work:
    """What there is to do. decisions: on all units but those of the model. names: of all units."""

    decisions: Sequence[Decision]
    left: Sequence[Decision]
    left_model: Sequence[Decision]
    names: Sequence[str]


def _look(context: RunContext, plan: _Plan, wanted: Sequence[str], *, redo: bool) -> _Work:
    """Compare what the recipe makes with what is in the folder; writes nothing."""
    decisions = [decide(context, unit, plan.listed) for unit in plan.units]
    model = [decide(context, unit, plan.listed) for unit in plan.model_units]
    _check_order([*decisions, *model], wanted)
    mine, my_model = ([d for d in some if d.unit.stage in wanted] for some in (decisions, model))
    if not redo:
        refuse_changes([*mine, *my_model])
    left, left_model = ([d for d in some if d.state != "done"] for some in (mine, my_model))
    return _Work(decisions, left, left_model, [d.unit.name for d in [*decisions, *model]])


def _wanted(recipe: Recipe, stages: Sequence[str]) -> list[str]:
    for stage in [stages] if isinstance(stages, str) else stages:
        if stage not in STAGES:
            raise UsageError(unknown_name("stage", stage, STAGES))
        if stage not in recipe.stages():
            raise UsageError(f"the recipe has no `{stage}`; its stages are {', '.join(recipe.stages())}")
    found = [stages] if isinstance(stages, str) else list(stages or recipe.stages())
    if "mix" in found and "tokenizer" not in found:
        found.insert(found.index("mix"), "tokenizer")
    return found


def _check_order(decisions: Sequence[Decision], wanted: Sequence[str]) -> None:
    """A stage alone needs what comes before it to be done already."""
    states = {d.unit.name: d for d in decisions}
    for one in decisions:
        if one.unit.stage not in wanted:
            continue
        for name in one.unit.needs:
            need = states[name]
            if need.unit.stage not in wanted and need.state != "done":
                command = {"tokenizer": "mix"}.get(need.unit.stage, need.unit.stage)
                raise UsageError(
                    f"{one.unit.stage} needs {name}, which is not done ({need.state}). "
                    f"First: dolma-pipeline {command} RECIPE; or do all with: dolma-pipeline run RECIPE."
                )


def _model_units(context: RunContext, units: dict[str, Unit]) -> list[Unit]:
    """The units of `train` and `eval`, as far as the recipe has them."""
    if not context.recipe.train:
        return []
    train = train_unit(context, units)
    return [train, eval_unit(context, train)] if context.recipe.eval else [train]


def _check_failures(recipe: Recipe, result: Result) -> None:
    """Raises TooManyFailuresError above `max_failed_share` (of a unit's documents, and at least 10)."""
    for name, manifest in sorted(result.manifests.items(), key=lambda item: item[1].stage != "mix"):
        counts = [c for c in manifest.counts.values() if "failed" in c]
        failed, seen = sum(c["failed"] for c in counts), sum(c.get("in", 0) for c in counts)
        if failed > max(10, recipe.max_failed_share * seen):
            common = common_failures(recipe.output, manifest.stage)
            error = TooManyFailuresError(
                f"{failed:,} of {seen:,} documents failed in {name}, more than max_failed_share "
                f"{recipe.max_failed_share} allows; everything else is written. {common}"
            )
            error.result = result
            raise error


def common_failures(output: str, stage: str) -> str:
    """One sentence on where the failures of a stage are and what most of the first 10,000 have in common."""
    lines = (line for path in sorted(Path(output, "failed", stage).rglob("*.jsonl")) for line in path.open("rb"))
    reasons = Counter(orjson.loads(line)["reason"] for line in itertools.islice(lines, 10_000))
    often = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(3))
    return f"{output}/failed/{stage}/ has file, line and reason of each; most often: {often}."
