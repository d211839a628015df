"""`export RUN|RECIPE --output FOLDER`: the model of a saved step in the files of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from dolma_pipeline.storage.folder import RunFolder


def main(arguments: Arguments) -> Reply:
    """Export the model.

    Raises:
        UsageError: no run or no --output was named, or an option that cannot be, such as a step that is not saved.
        RunError: the run has no checkpoint at all, or the export failed.
    """
    from dolma_pipeline.run import layout
    from dolma_pipeline.storage.scratch import Scratch
    from dolma_pipeline.storage.staged import staged
    from dolma_pipeline.train import committed_steps
    from dolma_pipeline.train.hugging_face.shape import DTYPES, FORMS
    from dolma_pipeline.train.hugging_face.start import export, place_for

    asked, given, form, dtype = (
        arguments.values.get(name, (default,))[-1]
        for name, default in (("--step", ""), ("--output", ""), ("--format", FORMS[0]), ("--dtype", "fp32"))
    )
    if not given:
        raise UsageError("'export' needs --output, the folder to write: dolma-pipeline export runs/mine --output model")
    if asked and not asked.isdecimal():
        raise UsageError(f"--step {asked}: a step is a number, 0 or more")
    output = place_for(given)
    folder, stage = _folder(arguments)
    of_run, inside = layout.of_model(stage, "train"), layout.of_model(stage, "")

    def chosen(steps: Sequence[int]) -> int:
        if not steps:
            raise RunError(f"{folder.url}/{of_run}: no saved model. First: dolma-pipeline {stage} RECIPE.")
        step = int(asked) if asked else steps[-1]
        if step not in steps:
            raise UsageError(
                f"{folder.url}/{of_run}: no checkpoint of step {step}. There are: {', '.join(map(str, steps))}."
            )
        return step

    with closing(Scratch()) as scratch:
        under = [layout.of_model(stage, name) for name in ("tokenizer", "train")]
        with staged(folder, scratch, under=under, steps=lambda whole: [chosen(whole)]) as local:
            place = local / inside
            step = chosen(committed_steps(place))
            form_of, dtype_of = next(f for f in FORMS if f == form), next(d for d in DTYPES if d == dtype)
            content = export(place, output, folder=folder, step=step, form=form_of, dtype=dtype_of, stage=stage)
    kind = content["architectures"][0] if form_of == "hf" else f"{content['architecture']}, under our own names"
    return Reply(f"{given}: step {step:,} as {kind}, {content['torch_dtype']}\n")


def _folder(arguments: Arguments) -> tuple[RunFolder, str]:
    """The run's folder, that which was named, or the `output` of a recipe; and the stage whose model is exported."""
    from dolma_pipeline.look.clean import opened
    from dolma_pipeline.run.model_folder import run_and_stage
    from dolma_pipeline.runner.check import check_output
    from dolma_pipeline.runner.modules import open_recipe

    if len(arguments.words) != 1:
        raise UsageError(
            f"'export' takes one run or recipe, found {len(arguments.words)}: "
            "dolma-pipeline export runs/quickstart --output model"
        )
    (place,) = arguments.words
    asked = arguments.values.get("--stage", (None,))[-1]
    if place.endswith((".yaml", ".yml")):
        return check_output(open_recipe(place, *arguments.overrides)), asked or "train"
    if arguments.overrides:
        raise UsageError(f"found {arguments.overrides[0]}; KEY=VALUE changes a recipe, and {place} is a run's folder")
    run, stage = run_and_stage(place)
    if stage is not None and asked not in (None, stage):
        raise UsageError(f"found --stage {asked}, but {place} is the folder of {stage}")
    return opened(run), stage or asked or "train"
