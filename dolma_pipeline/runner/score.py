"""Score checkpoints of a run, whoever trained it: what `eval` with options does, beside the stage.

It needs no record of the training, only `train/config.json` and checkpoints that are whole. Results go where the
stage's go, and stay there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dolma_pipeline.config.recipe import EvalConfig, Recipe
from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals.run import Options, check_tasks
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.model_folder import ADAPTED, run_and_stage
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.check import check_output
from dolma_pipeline.runner.modules import open_recipe, user_modules
from dolma_pipeline.stages.model import scored, with_local_tasks
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.scratch import Scratch
from dolma_pipeline.storage.staged import staged

_CHECKPOINT = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is scored.

    stage: whose model, `train`, `sft` or `dpo`; None: that of the folder that is named, `train` of a run or a recipe.
    steps: of checkpoints; () is the first and the last. every: all that are whole. checkpoint: the folder of one,
    `…/train/step-000200`, of this run or another. tasks: task files, and documents: files by domain,
    in place of all that the recipe says. limit, redo and allow_code: of `evals.Options`. precision: in place of the
    recipe's.
    """

    stage: str | None = None
    steps: tuple[int, ...] = ()
    every: bool = False
    checkpoint: str | None = None
    tasks: tuple[str, ...] = ()
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None
    precision: str | None = None
    redo: bool = False
    allow_code: bool = False

    def of_model(self, name: str) -> str:
        """A file or folder of the model that is scored, in the run's folder."""
        return layout.of_model(self.stage or "train", name)


def score_run(place: str, overrides: Sequence[str], wanted: Wanted) -> Mapping[int, Mapping[str, Any]]:
    """Score checkpoints of the run of a recipe, or in a folder.

    Args:
        place: a recipe (ends in .yaml), or the folder or URL of a run, or of `sft` or `dpo` in it.
        overrides: KEY=VALUE.

    Returns:
        Step -> all its results, those of before too.

    Raises:
        UsageError: no checkpoint, no such step, nothing to score, or options that do not go together.
        DolmaError: what scoring raises.
    """
    place, stage = run_and_stage(place)
    if stage is not None:
        if wanted.stage not in (None, stage):
            raise UsageError(f"found --stage {wanted.stage}, but {place}/{stage} is the folder of {stage}")
        wanted = replace(wanted, stage=stage)
    recipe = _recipe(place, overrides)
    scratch: Scratch
    if recipe is not None:
        folder = check_output(recipe)
        config = _chosen(recipe.eval, folder, wanted)
        process = Process.of(Run(recipe, folder, user_modules(recipe)))
        config, scratch = with_local_tasks(process, config), process.scratch
    else:
        folder = run_folder(place)
        settings = wanted.of_model("train/config.json")
        if folder.stat(settings) is None and wanted.checkpoint is None:
            raise UsageError(f"{place}: no run that was trained: it has no {settings}")
        config, scratch = _chosen(None, folder, wanted), Scratch()
    try:
        check_tasks(config, allow_code=wanted.allow_code)
        return _score(folder, config, scratch, wanted)
    finally:
        Process.leave()


def trained_elsewhere(recipe: Recipe) -> bool:
    """Whether a run holds checkpoints of a training that no `train` of ours has begun or finished."""
    folder = check_output(recipe)
    if folder.stat("train/config.json") is None or read_manifest(folder, "train") is not None:
        return False
    begun = any(entry.name.startswith(f"{layout.DONE}/train-") for entry in folder.list(layout.DONE))
    return not begun and bool(_steps(folder))


def _recipe(place: str, overrides: Sequence[str]) -> Recipe | None:
    if place.endswith((".yaml", ".yml")):
        return open_recipe(place, *overrides)
    own = Path(place).expanduser() / layout.RECIPE
    if own.is_file():
        return open_recipe(str(own), f"output={place}", *overrides)
    if overrides:
        raise UsageError(f"found {overrides[0]}, but {place} has no {layout.RECIPE} that it could change")
    return None


def _chosen(config: EvalConfig | None, folder: RunFolder, wanted: Wanted) -> EvalConfig:
    """What to score on: the recipe's, or the tasks and documents that were named."""
    if config is None:
        config = EvalConfig(held_out=next(iter(folder.list("tokens/held_out")), None) is not None)
    if wanted.tasks or wanted.documents:
        config = replace(config, held_out=False, documents=wanted.documents, tasks=wanted.tasks)
    if wanted.precision is not None:
        config = replace(config, precision=wanted.precision)  # type: ignore[arg-type] # the option has its choices
    if not (config.held_out or config.tasks or config.documents):
        raise UsageError(
            f"{folder.url}: there are no held-out documents; name what to score on with --task or --documents"
        )
    return config


def _score(folder: RunFolder, config: EvalConfig, scratch: Scratch, wanted: Wanted) -> Mapping[int, Mapping[str, Any]]:
    from dolma_pipeline.evals import launch

    options = Options(limit=wanted.limit, redo=wanted.redo, allow_code=wanted.allow_code)
    if (other := _other_run(folder, wanted)) is not None:
        options, steps = replace(options, weights=other[0]), [other[1]]
    else:
        steps = _wanted_steps(folder, wanted)
    stage = wanted.stage or "train"
    under = scored(stage)
    with staged(folder, scratch, under=under, steps=lambda whole: [step for step in whole if step in steps]) as local:
        options = options if stage == "train" else replace(options, held_out=local)
        return launch(local / wanted.of_model(""), steps=steps, config=config, options=options)


def _wanted_steps(folder: RunFolder, wanted: Wanted) -> list[int]:
    """The steps to score, in order.

    Raises:
        RunError: there is no checkpoint. UsageError: not of such a step; says which there are.
    """
    place, stage = wanted.of_model("train"), wanted.stage or "train"
    whole = _steps(folder, place)
    if not whole:
        others = [one for one in ADAPTED if one != stage and _steps(folder, layout.of_model(one, "train"))]
        hint = f" Or score another model: {' or '.join(f'--stage {one}' for one in others)}." if others else ""
        raise RunError(
            f"{folder.url}/{place}: no checkpoint that is whole. Train first: dolma-pipeline {stage} RECIPE.{hint}"
        )
    asked = {*wanted.steps}
    if wanted.checkpoint is not None:
        asked = {_checkpoint_step(Path(wanted.checkpoint))}
    if missing := sorted(asked - {*whole}):
        raise UsageError(
            f"{folder.url}/{place}: no checkpoint of step {missing[0]}. There are: {', '.join(map(str, whole))}."
        )
    return whole if wanted.every else sorted(asked or {whole[0], whole[-1]})


def _other_run(folder: RunFolder, wanted: Wanted) -> tuple[Path, int] | None:
    """The run's folder and the step of a checkpoint that is not of this run.

    Raises:
        UsageError: no such checkpoint, or not a folder of one.
    """
    if wanted.checkpoint is None:
        return None
    path = Path(wanted.checkpoint).expanduser().resolve()
    step = _checkpoint_step(path)
    if not (path / "commit.json").is_file():
        raise UsageError(f"--checkpoint {wanted.checkpoint}: no checkpoint that is whole: it has no commit.json")
    own = folder.local_path()
    is_own = own is not None and path.parents[1] == (own / wanted.of_model("")).resolve()
    return None if is_own else (path.parents[1], step)


def _checkpoint_step(path: Path) -> int:
    match = _CHECKPOINT.fullmatch(path.name)
    if match is None or path.resolve().parent.name != "train":
        raise UsageError(f"--checkpoint {path}: not the folder of a checkpoint, which is called …/train/step-000200")
    return int(match[1])


def _steps(folder: RunFolder, place: str = "train") -> list[int]:
    """Steps whose checkpoint is whole, in order. place: of the training, in the run's folder."""
    names = [entry.name.removeprefix(f"{place}/").split("/") for entry in folder.list(place)]
    found = [_CHECKPOINT.fullmatch(parts[0]) for parts in names if parts[1:] == ["commit.json"]]
    return sorted(int(match[1]) for match in found if match)
