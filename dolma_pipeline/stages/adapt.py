"""sft and dpo as stages: a model goes on with dialogues or with pairs of answers, in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from dolma_pipeline.config.recipe import SftConfig
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import Stage
from dolma_pipeline.stages.fixed_files import FixedFile, fixed_files
from dolma_pipeline.stages.model import InLauncher, prepare_scoring
from dolma_pipeline.stages.starts import CONFIG, init_of, init_reads, own_keys, source_of
from dolma_pipeline.storage.staged import staged
from dolma_pipeline.train import Init, Settings, Source, find_source


def section_of(process: Process, name: str) -> SftConfig:
    """The section of such a stage."""
    section: SftConfig = getattr(process.run.recipe, name)
    return section


def data_of(process: Process, name: str) -> list[FixedFile]:
    """Its files, hashed."""
    return fixed_files(process, f"{name}.data", section_of(process, name).data)


def comes_from(process: Process, name: str) -> str | None:
    """The stage of this recipe whose last weights it starts from; None where it names a model."""
    recipe, config = process.run.recipe, section_of(process, name)
    if config.init_from is not None:
        return None
    before = ("sft", "train") if name == "dpo" else ("train",)
    return next(stage for stage in before if getattr(recipe, stage) is not None)  # the recipe's checks saw to one


class AdaptStage(Stage):
    """A model goes on. name: of the stage, `sft` or `dpo`."""

    def __init__(self, name: str, summary: str, *, after: tuple[str, ...]) -> None:
        self.name, self.summary, self.after = name, summary, after

    def check(self, process: Process) -> Sequence[str]:
        """What it starts from must be there, and its data."""
        config = section_of(process, self.name)
        if comes_from(process, self.name) is None:
            init_of(process, self.name, config, folder=f"{self.name}/")
        data_of(process, self.name)
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """One, of the weights that it starts from and of its data's content."""
        config, recipe = section_of(process, self.name), process.run.recipe
        before = comes_from(process, self.name)
        reads = own_keys(self.name, config)
        if before is None:
            reads |= init_reads(self.name, config, init_of(process, self.name, config, folder=f"{self.name}/"))
        files = {f"{self.name}.data: {file.name}": file.sha256 for file in data_of(process, self.name)}
        needs = (known[before],) if before else ()
        return [Artifact(self.name, self.name, {**reads, "seed": recipe.seed}, files=files, needs=needs)]

    def begun(self, process: Process, artifact: Artifact, *, needs_done: bool) -> Sequence[str] | None:
        """Its checkpoints, by whatever they were made: what they were made with stands beside them."""
        from dolma_pipeline.train.compatible import conflicts
        from dolma_pipeline.train.files import parse_config

        folder, name = process.run.folder, self.name
        if not any(entry.name.endswith("/commit.json") for entry in folder.list(f"{name}/train")):
            return None
        if not needs_done:
            return []
        for lost in (f"{name}/{CONFIG}", f"{name}/data/examples.json"):
            if folder.stat(lost) is None:
                return [f"{lost}: it is gone, so nobody knows what the checkpoints were made with"]
        config, before = section_of(process, name), comes_from(process, name)
        old = parse_config(folder.read(f"{name}/{CONFIG}"), f"{folder.url}/{name}/{CONFIG}")
        length = {key: old["train"][key] for key in ("max_tokens", "warmup_steps")}  # they follow from the data
        new = {**old, "train": {**asdict(config), **length}, "seed": process.run.recipe.seed}
        if before is None:
            init = init_of(process, name, config, folder=f"{name}/")
            new["init"] = None if init is None else asdict(init)
        examples = orjson.loads(folder.read(f"{name}/data/examples.json"))
        files = [file.sha256 for file in data_of(process, name)]
        data = [] if examples["data"] == files else [f"{name}.data: its files have another content, or order"]
        changed = [re.sub(r"^train\.", f"{name}.", line) for line in conflicts(old, new)]
        return [*changed, *data]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """One phase of the launcher."""
        return [Adapting((left[self.name],))] if self.name in left else []


@dataclass(frozen=True)
class Adapting(InLauncher):
    """Makes the examples and trains on them, or goes on from the last checkpoint."""

    @property
    def name(self) -> str:
        """The stage's."""
        return self.artifacts[0].name

    def work(self, process: Process, task: Task) -> Work:
        """Adapt."""
        from dolma_pipeline.train import launch, resolve_processes
        from dolma_pipeline.train.retention import kept

        run, name = process.run, self.name
        config = section_of(process, name)
        under = dict.fromkeys((name, *_read_of(comes_from(process, name)), *_scored_on(config)))
        with staged(
            run.folder,
            process.scratch,
            under=[*under],
            steps=lambda whole: whole[-1:],
            keep=lambda whole: kept(whole, config),
        ) as folder:
            settings = prepared(process, name, folder)
            launch(folder / name, processes=resolve_processes(replace(config, max_tokens=settings.train.max_tokens)))
        return Work()


def prepared(process: Process, name: str, folder: Path) -> Settings:
    """What a stage does before its processes start: tokenizer, examples and `train/config.json`.

    Args:
        name: of the stage. folder: of the run, on this machine, with the model that it starts from.

    Raises:
        UsageError, DataError, SettingsChangedError: as `train.prepare`.
    """
    from dolma_pipeline.train import prepare

    config, before = section_of(process, name), comes_from(process, name)
    files = data_of(process, name)

    def source() -> Source:
        return find_source(str(_place(folder, before))) if before else source_of(process, config.init_from or "")

    init: Init | None
    if before:
        found = source()
        inside = "" if before == "train" else before
        init = Init(step=found.step, weights=found.weights, extend=False, inside=inside)
    else:
        init = init_of(process, name, config, folder=f"{name}/")
    assert init is not None  # where it comes from no stage it names one
    settings = prepare(
        folder / name,
        config,
        source=source,
        init=init,
        files=[file.location for file in files],
        hashes=[file.sha256 for file in files],
        seed=process.run.recipe.seed,
    )
    prepare_scoring(process, folder / name, config, inside=True)
    return settings


def _place(folder: Path, before: str) -> Path:
    """Where a stage's folder is that holds `train`."""
    return folder if before == "train" else folder / before


def _scored_on(config: SftConfig) -> tuple[str, ...]:
    """Folders of the run that are read where checkpoints are scored while training."""
    return ("tokens", "tokenizer") if config.eval_every_steps is not None else ()


def _read_of(before: str | None) -> tuple[str, ...]:
    """Folders of the run that are read."""
    return {None: (), "train": ("train", "tokenizer")}.get(before, (before or "",))
