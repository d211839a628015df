"""`sft --config-only` and `dpo --config-only`: examples, settings and order, from which torchrun by hand starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import SettingsChangedError

if TYPE_CHECKING:
    from dolma_pipeline.run.artifact import Artifact


def write_adaptation(recipe: Recipe, name: str) -> Path:
    """Write what a stage that goes on with a model trains on: `data`, `tokenizer`, `train/config.json`, `order.json`.

    Args:
        name: of the stage, `sft` or `dpo`.

    Returns:
        The stage's folder.

    Raises:
        UsageError: the folder, or what is scored on, is on an object store; the model that it starts from is not there
            or not finished; fewer examples than a batch.
        SettingsChangedError: there are checkpoints that were made with other settings or data.
        DataError: rows that are no dialogues, or pairs; checkpoints that were trained in another order.
    """
    from dolma_pipeline.cli.train import check_scored_on, folder_of
    from dolma_pipeline.look.folder import begun, check_made
    from dolma_pipeline.run.process import Process
    from dolma_pipeline.run.run import Run
    from dolma_pipeline.run.stage import STAGES, artifacts_of, at, resolved_recipe
    from dolma_pipeline.runner.check import check_output
    from dolma_pipeline.runner.lock import RunLock
    from dolma_pipeline.runner.modules import user_modules
    from dolma_pipeline.stages.adapt import comes_from, prepared, section_of
    from dolma_pipeline.train.adapted import open_examples
    from dolma_pipeline.train.data_check import check_order
    from dolma_pipeline.train.order_file import order_content

    modules = user_modules(recipe)
    recipe = resolved_recipe(recipe)
    process = Process.of(Run(recipe, check_output(recipe), modules))
    known: Mapping[str, Artifact] = {}
    if (before := comes_from(process, name)) is not None:
        found = begun(recipe)
        check_made(found, [before], command=f"dolma-pipeline run RECIPE {name}=null")
        process, known = found.process, found.artifacts
    check_scored_on(recipe, section_of(process, name))
    folder = folder_of(process.run) / name
    stage = STAGES[name]
    with at(recipe, name):
        stage.check(process)
        artifact = artifacts_of(stage, process, known)[name]
    with RunLock(process.run.folder):
        if differing := stage.begun(process, artifact, needs_done=True):
            raise SettingsChangedError(
                f"{folder}: the checkpoints there were made with other settings: {'; '.join(differing)}. "
                f"To train from the start: dolma-pipeline {name} RECIPE --redo. Or set them back to go on."
            )
        settings = prepared(process, name, folder.parent)
        check_order(folder, order_content(settings, {"data": len(open_examples(folder / "data"))}))
    return folder
