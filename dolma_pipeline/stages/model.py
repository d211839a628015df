"""train and eval as stages: started in processes of their own by the launcher, which so never loads torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dolma_pipeline.config.recipe import EvalConfig, TrainConfig
from dolma_pipeline.errors import ConfigError, UnknownNameError, UsageError, unknown_name
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.io.url_patterns import read_small
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, read_manifest
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import Stage, at, module_files
from dolma_pipeline.stages.starts import check_fits, check_start, init_of, init_reads, own_keys
from dolma_pipeline.storage.inputs import is_url, location, name_of, put_local
from dolma_pipeline.storage.staged import staged

STAGED = ("tokens", "tokenizer", "train", "quarantine.jsonl")
"""What training reads of a run: folders and files."""
CONFIG = "train/config.json"
"""The settings that the checkpoints of a run were made with."""


class TrainStage(Stage):
    """A model on the parts."""

    name = "train"
    summary = "train a model on shards, with FSDP"
    after = ("tokens",)

    def check(self, process: Process) -> Sequence[str]:
        """The model must exist and fit the tokenizer."""
        from dolma_pipeline.train import model_config, spec_for

        recipe = process.run.recipe
        assert recipe.train is not None
        with at(recipe, "train.model"):
            try:
                spec_for(recipe.train.model)
            except UnknownNameError as error:  # without its hint, which names the key again
                raise ConfigError(unknown_name(error.kind, error.name, error.known)) from error
        if recipe.tokenizer:
            with at(recipe, "train.shape" if recipe.train.shape else "train.model"):
                model_config(
                    recipe.train.model,
                    vocab_size=recipe.tokenizer.vocab_size,
                    sequence_length=recipe.train.sequence_length,
                    shape=recipe.train.shape,
                )
        check_start(process, "train", recipe.train)
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`train`: not keys on which only the rounding of sums depends, such as the number of processes."""
        from dolma_pipeline.train import sections_of, spec_for

        recipe = process.run.recipe
        config = recipe.train
        assert config is not None  # asked for only where there is one
        reads = {**own_keys("train", config), **init_reads("train", config, init_of(process, "train", config))}
        model = config.model
        files = {**module_files(process, f"model {model}", spec_for(model).declared_in), **_quarantine(process)}
        needs = tuple(known[section] for section in sections_of(config))
        return [Artifact("train", "train", {**reads, "seed": recipe.seed}, files=files, needs=needs)]

    def begun(self, process: Process, artifact: Artifact, *, needs_done: bool) -> Sequence[str] | None:
        """Its checkpoints, by whatever they were made, torchrun too: `train/config.json` says with which settings."""
        from dolma_pipeline.train.compatible import conflicts
        from dolma_pipeline.train.files import parse_config, settings_of

        folder, config = process.run.folder, process.run.recipe.train
        assert config is not None
        if not any(entry.name.endswith("/commit.json") for entry in folder.list("train")):
            return None
        if not needs_done:
            return []
        if folder.stat(CONFIG) is None:
            return [f"{CONFIG}: it is gone, so nobody knows what the checkpoints were made with"]
        settings = settings_of(config, **settings_given(process, config))
        return conflicts(parse_config(folder.read(CONFIG), f"{folder.url}/{CONFIG}"), settings.as_dict())

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """One phase of the launcher."""
        return [Training((left["train"],))] if "train" in left else []


def settings_given(process: Process, config: TrainConfig) -> dict[str, Any]:
    """What beside the section settings are made of, by the names that `settings_of` has for it; its parts are done."""
    from dolma_pipeline.train import dataset_of, sections_of

    run = process.run
    manifests = {section: read_manifest(run.folder, section) or {} for section in sections_of(config)}
    first = next(iter(manifests.values()))
    return {
        "vocab_size": first["vocab_size"],
        "eos_id": first["eos"],
        "dataset": dataset_of({section: manifest["dataset"] for section, manifest in manifests.items()}),
        "seed": run.recipe.seed,
        "modules": run.modules,
        "init": init_of(process, "train", config),
    }


def _quarantine(process: Process) -> dict[str, str]:
    """The digest of the lines by hand in a run's quarantine.jsonl: what training reads beside the parts. The trainer's
    own lines follow from all else.

    Raises:
        DataError: a line is wrong; names file and line.
    """
    from dolma_pipeline.train.quarantine import QUARANTINE, by_hand_digest, parse

    folder = process.run.folder
    if folder.stat(QUARANTINE) is None:
        return {}
    found = by_hand_digest(parse(folder.read(QUARANTINE), f"{folder.url}/{QUARANTINE}"))
    return {QUARANTINE: found} if found else {}


def with_local_tasks(process: Process, config: EvalConfig) -> EvalConfig:
    """The section, its files on this machine's disk: those that have a URL are copied to scratch, once a process.

    What a task file names beside it comes with it.

    Raises:
        UsageError: one that is not there, or cannot be read. ConfigError: a task file that is wrong.
    """
    from dolma_pipeline.evals.tasks import files_of

    def copied(key: str, url: str, beside: str = "") -> Path:
        place = location(url, process.run.recipe.input_settings())
        content = read_small(place, f"{key}: {url}")
        folder = f"tasks/{hashlib.sha256((beside or url).encode()).hexdigest()[:16]}"
        return process.scratch.cached(f"{folder}/{name_of(place)}", lambda target: put_local(target, content))

    def task(url: str) -> str:
        if not is_url(url):
            return url
        path = copied("eval.tasks", url)
        for name in files_of(path):
            if "/" in name:
                raise UsageError(f"{url}: names {name}; what a task file at a URL names lies beside it.")
            copied("eval.tasks", f"{url.rpartition('/')[0]}/{name}", beside=url)
        return str(path)

    documents = {
        domain: tuple(str(copied(f"eval.documents.{domain}", one)) if is_url(one) else one for one in files)
        for domain, files in config.documents.items()
    }
    return replace(config, tasks=tuple(map(task, config.tasks)), documents=documents)


def scored(stage: str) -> tuple[str, ...]:
    """What evaluation reads of a run for the model of a stage: results stay where others are added."""
    own = (layout.of_model(stage, name) for name in ("tokenizer", "train", "eval"))
    return tuple(dict.fromkeys(("tokens", "tokenizer", *own)))


def is_of_other_training(run: Run, digest: str, *, stage: str = "train") -> bool:
    """Whether the scores of a stage's model are recorded to be of another training than that of this digest."""
    made = read_manifest(run.folder, layout.of_model(stage, "eval"))
    return made is not None and made["needs"].get(stage) != digest


class EvalStage(Stage):
    """Scores of the models."""

    name = "eval"
    summary = "bits per byte of each source, and tasks"
    after = ("train", "sft", "dpo")

    def check(self, process: Process) -> Sequence[str]:
        """Tasks must be files of items, domains files of documents."""
        from dolma_pipeline.evals.documents import read_domains
        from dolma_pipeline.evals.run import read_tasks

        recipe = process.run.recipe
        assert recipe.eval is not None
        with at(recipe, "eval.tasks"):
            config = with_local_tasks(process, recipe.eval)
            tasks = read_tasks(config)
            for name, (task, _) in tasks.items():
                if task.config.kind == "code":
                    raise UsageError(
                        f"{name} runs programs that the model writes, which a stage does not. Take it out of the "
                        f"recipe, and score it with: dolma-pipeline eval RECIPE --task {task.path} --allow-code"
                    )
        with at(recipe, "eval.documents"):
            read_domains(config.documents)
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`eval`, and `sft/eval` or `dpo/eval`: of a model each, and of the tasks' and documents' content.

        Its results are no part of what goes when it is made again: those that hold stay, by their digests. All go
        when they are of another training.
        """
        from dolma_pipeline.evals.documents import read_domains
        from dolma_pipeline.evals.run import read_tasks

        recipe = process.run.recipe
        assert recipe.eval is not None
        config = with_local_tasks(process, recipe.eval)
        with at(recipe, "eval.tasks"):
            tasks = read_tasks(config)
        with at(recipe, "eval.documents"):
            domains = read_domains(config.documents)
        reads: dict[str, Any] = {"eval.held_out": config.held_out}
        if config.precision != "fp32":
            reads["eval.precision"] = config.precision
        files = {
            f"eval.tasks.{name}": digest([task.data, task.settings, task.metric]) for name, (task, _) in tasks.items()
        }
        files |= {f"eval.documents.{name}": domain.data for name, domain in domains.items()}
        found = []
        for stage in recipe.eval.stages:
            name = layout.of_model(stage, "eval")
            is_other = is_of_other_training(process.run, known[stage].digest, stage=stage)
            # A training that scores itself has taken them away before it added its own.
            scores_itself = stage == "train" and recipe.train is not None and recipe.train.eval_every_steps is not None
            owns = () if is_other and not scores_itself else (layout.manifest(name),)
            needs = (known[stage], *((known["tokens"],) if stage != "train" and config.held_out else ()))
            found.append(Artifact(name, "eval", reads, files=files, needs=needs, owns=owns))
        return found

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """A phase of the launcher for each model."""
        return [Scoring((one,)) for one in left.values() if one.stage == "eval"]


@dataclass(frozen=True)
class InLauncher(OneTask):
    """A phase that the launcher works on itself: what it starts are processes of their own."""

    @property
    def needs(self) -> frozenset[str]:
        """What its artifact is made from."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def in_launcher(self) -> bool:
        """Yes."""
        return True

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        list(records)
        close(run.folder, self.artifacts[0], [], shards_digest=run.shards_digest)


@dataclass(frozen=True)
class Training(InLauncher):
    """Trains on the run's parts, or goes on from the last checkpoint."""

    @property
    def name(self) -> str:
        """`train`."""
        return "train"

    def work(self, process: Process, task: Task) -> Work:
        """Train."""
        from dolma_pipeline.train import launch, resolve_processes, sections_of, write_config
        from dolma_pipeline.train.retention import kept

        run, config = process.run, process.run.recipe.train
        assert config is not None
        given = settings_given(process, config)
        if config.eval_every_steps is not None and is_of_other_training(run, self.artifacts[0].digest):
            run.folder.delete_tree("eval")  # before this one adds its own
        num_read = 2 if config.allow_older_checkpoint else 1
        with staged(
            run.folder,
            process.scratch,
            under=[*dict.fromkeys((*STAGED, *sections_of(config), *(["eval"] if config.eval_every_steps else [])))],
            steps=lambda whole: whole[-num_read:],
            keep=lambda whole: kept(whole, config),
        ) as folder:
            check_fits(process, "train", config, vocab_size=given["vocab_size"])
            write_config(folder, config, **given)
            prepare_scoring(process, folder, config)
            launch(folder, processes=resolve_processes(config))
        return Work()


def prepare_scoring(process: Process, folder: Path, config: TrainConfig, *, inside: bool = False) -> None:
    """Write what checkpoints are scored on while training, if that is asked for.

    Args:
        folder: the run's, on this machine; or that of a stage `inside` it.

    Raises:
        UsageError, ConfigError: task files that are not there, or wrong.
    """
    from dolma_pipeline.evals.online import write_online

    scored = process.run.recipe.eval
    if config.eval_every_steps is not None and scored is not None:
        write_online(folder, with_local_tasks(process, scored), inside=inside)


@dataclass(frozen=True)
class Scoring(InLauncher):
    """Scores a model before and after its training."""

    @property
    def name(self) -> str:
        """`eval`, or `sft/eval`."""
        return self.artifacts[0].name

    def work(self, process: Process, task: Task) -> Work:
        """Score."""
        from dolma_pipeline.evals import launch
        from dolma_pipeline.evals.run import Options
        from dolma_pipeline.train import committed_steps

        config = process.run.recipe.eval
        assert config is not None
        config = with_local_tasks(process, config)
        folder, stage = process.run.folder, self.name.rpartition("/")[0] or "train"
        with staged(folder, process.scratch, under=scored(stage), steps=lambda whole: [whole[0], whole[-1]]) as place:
            model = place / layout.of_model(stage, "")
            steps = committed_steps(model)
            options = Options(held_out=None if stage == "train" else place)
            launch(model, steps=sorted({steps[0], steps[-1]}), config=config, options=options)
        return Work()
