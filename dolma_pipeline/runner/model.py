"""train and eval as units of a run: started in their own processes, so the launcher never loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dolma_pipeline.io.paths import sha256_file
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import log_event
from dolma_pipeline.stages.units import Unit


def train_unit(context: RunContext, units: Mapping[str, Unit]) -> Unit:
    """What a trained model depends on: the recipe's `train` and `seed`, and the shards. Not the number of processes
    (only the rounding of sums depends on it)."""
    config: dict[str, Any] = asdict(context.recipe.train)  # type: ignore[arg-type] # asked for only where there is one
    del config["processes"], config["save_every_steps"]
    return Unit("train", "train", {**config, "seed": context.recipe.seed}, {"tokens": units["tokens"].digest})


def eval_unit(context: RunContext, train: Unit) -> Unit:
    """What scores depend on: the tasks' content and the model."""
    from dolma_pipeline.evals.run import task_files

    config = context.recipe.eval
    assert config is not None
    tasks = {path.name: sha256_file(path) for path in task_files(config).values()}
    return Unit("eval", "eval", {"held_out": config.held_out, "tasks": tasks}, {"train": train.digest})


def run_train(context: RunContext, unit: Unit) -> None:
    """Train on the run's shards, or go on from the last checkpoint."""
    from dolma_pipeline.train import launch, resolve_processes, write_config

    config = context.recipe.train
    assert config is not None
    tokens = context.records("tokens").manifest()
    assert tokens is not None
    log_event(context, "train", "begin")
    write_config(
        context.path,
        config,
        vocab_size=tokens["vocab_size"],
        eos_id=tokens["eos"],
        dataset=tokens["dataset"],
        seed=context.recipe.seed,
    )
    launch(context.path, processes=resolve_processes(config))
    log_event(context, "train", "end")
    context.records("train").finish(unit.manifest_fields(context))


def run_eval(context: RunContext, unit: Unit) -> None:
    """Score the model before and after training."""
    from dolma_pipeline.evals import launch
    from dolma_pipeline.train import committed_steps

    config = context.recipe.eval
    assert config is not None
    steps = committed_steps(context.path)
    log_event(context, "eval", "begin")
    for step in sorted({steps[0], steps[-1]}):
        launch(context.path, step=step, config=config)
    log_event(context, "eval", "end")
    context.records("eval").finish(unit.manifest_fields(context))
