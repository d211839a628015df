"""`train`, `sft`, `dpo`: the stage; with --config-only the files that torchrun by hand needs, and no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dolma_pipeline.cli import run
from dolma_pipeline.cli.adapt import write_adaptation
from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.config.recipe import Recipe, TrainConfig
from dolma_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dolma_pipeline.run.run import Run

CONFIG_ONLY = "--config-only"

AFTER_TOKENS = ("train", "eval", "sft", "dpo")
"""Stages that a run goes without, that is to end before training."""


def main(arguments: Arguments) -> Reply:
    """Run the stage, or write its settings.

    Raises:
        UsageError: options that do not go together; what comes before is not finished; settings that do not fit it.
        DolmaError: whatever the run raises.
    """
    if CONFIG_ONLY not in arguments.flags:
        return run.main(arguments)
    others = [option for option in ("--redo", "--dry-run", "--attach", "--cancel") if option in arguments.flags]
    if others or arguments.beam_options:
        found = " and ".join([CONFIG_ONLY, *others, *(["Beam options"] if arguments.beam_options else [])])
        raise UsageError(f"found {found}; {CONFIG_ONLY} starts nothing and goes alone")
    recipe, command = run.open_for(arguments), arguments.command
    assert command is not None
    folder = write_training(recipe) if command.name == "train" else write_adaptation(recipe, command.name)
    if arguments.format == "json":
        return Reply(json.dumps({"run": str(folder)}) + "\n")
    return Reply(
        f"{folder / 'train'}: config.json and order.json are written; nothing was started. On every node:\n"
        f"  torchrun ... -m dolma_pipeline.train {folder}\n"
    )


def folder_of(run: Run) -> Path:
    """The run's folder on a disk.

    Raises:
        UsageError: it is on an object store.
    """
    folder = run.folder.local_path()
    if folder is None:
        raise UsageError(
            f"{run.recipe.output} is on an object store, but torchrun needs a run's folder on a disk that all nodes "
            "see. Copy it there, and give the copy to this command: output=/path/of/the/copy."
        )
    return folder


def check_scored_on(recipe: Recipe, config: TrainConfig) -> None:
    """What checkpoints are scored on while training must be on a disk.

    Args:
        config: the section that trains.

    Raises:
        UsageError: a file at a URL.
    """
    from dolma_pipeline.storage.inputs import is_url

    if config.eval_every_steps is None or recipe.eval is None:
        return
    files = [*recipe.eval.tasks, *(file for each in recipe.eval.documents.values() for file in each)]
    if far := next((file for file in files if is_url(file)), None):
        raise UsageError(f"{far}: {CONFIG_ONLY} leaves no copy of a URL for training to score on. Name a file.")


def write_training(recipe: Recipe) -> Path:
    """Write `train/config.json` and `train/order.json` of a recipe's run; returns the run's folder.

    Raises:
        UsageError: the folder is on an object store; tokens that are not finished, or were made with other settings;
            fewer instances than a batch; a model that does not exist.
        SettingsChangedError: there are checkpoints that were made with other settings.
        DataError: parts that are not those of the manifest, or checkpoints that were trained in another order.
    """
    from dolma_pipeline.look.folder import begun, check_made
    from dolma_pipeline.run.process import Process
    from dolma_pipeline.runner.lock import RunLock
    from dolma_pipeline.stages.model import prepare_scoring, settings_given
    from dolma_pipeline.train import sections_of, write_config
    from dolma_pipeline.train.data_check import check_order, check_tokens
    from dolma_pipeline.train.order_file import order_content
    from dolma_pipeline.train.stages import open_parts

    found = begun(recipe)
    assert found.run.recipe.train is not None
    later = " ".join(f"{stage}=null" for stage in AFTER_TOKENS if stage in recipe.stages())
    check_made(found, [*sections_of(found.run.recipe.train)], command=f"dolma-pipeline run RECIPE {later}")
    folder, config = folder_of(found.run), found.run.recipe.train
    assert config is not None
    check_scored_on(recipe, config)
    with RunLock(found.run.folder):
        process = Process.of(found.run)
        settings = write_config(folder, config, **settings_given(process, config))
        prepare_scoring(process, folder, config)
        sizes = {section: len(parts) for section, parts in open_parts(folder, config).items()}
        check_tokens(folder, settings)
        check_order(folder, order_content(settings, sizes))
    return folder
