"""Files of `train/`: settings, steps that are saved, and JSON lines that a resumed run cuts back. Does not load torch.

train/config.json                       Settings, all resolved; written once, before the processes start
train/order.json                        the order of the data, from which any batch can be found again
train/metrics.jsonl                     an object a step
train/step-000200/model_and_optim/      a checkpoint
train/step-000200/commit.json           written last: the checkpoint is whole
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.config.idle_keys import idle_key
from dolma_pipeline.config.recipe import DpoConfig, StageConfig, TemplateConfig, TrainConfig
from dolma_pipeline.errors import DataError, RunError, SettingsChangedError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.registry import UserModule, declared_by, install_modules
from dolma_pipeline.storage.faults import told
from dolma_pipeline.train.compatible import KINDS, carried_on, conflicts, filled
from dolma_pipeline.train.spec import Shape, model_config, spec_named, spec_of
from dolma_pipeline.train.stages import Stage, stages_of

FORMAT = 1
"""A key that came later has its default, or what was done before there was one (`compatible.BEFORE`), in older runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """What training starts from, as `train/config.json` keeps it.

    step: of the checkpoint. weights: its digest. extend: its optimizer and its count of steps go on.
    inside: of a model of the same recipe, its folder in the run's; None where `init_from` names one.
    """

    step: int
    weights: str
    extend: bool
    inside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides a training run, save the data itself and the rounding that the number of processes brings.

    train: of the recipe (`processes` is not kept). model: the shape that `train.model` and `train.shape` stand for.
    eos_id: the id that ends documents. dataset: digest of the shards. seed: of weights and order.
    module: the user's module that declares the architecture, whole; None if it is ours.
    init: what it starts from; None: weights drawn from the seed.
    """

    train: TrainConfig
    model: Shape
    eos_id: int
    dataset: str
    seed: int
    module: UserModule | None = None
    init: Init | None = None

    def __post_init__(self) -> None:
        config = self.train
        if config.batch_tokens < instance_tokens(config) or config.batch_tokens % instance_tokens(config):
            twice = "twice " if instance_tokens(config) != config.sequence_length else ""
            raise UsageError(
                f"train.batch_tokens is {config.batch_tokens}, which is not a multiple of {twice}train.sequence_length "
                f"{config.sequence_length}. A batch is made of whole sequences."
            )
        for name in ("sequence_length", "max_tokens", "save_every_steps", "lr", "max_grad_norm", "eps"):
            if getattr(config, name) <= 0:
                raise UsageError(f"train.{name} is {getattr(config, name)}; it must be above 0.")
        if config.sequence_length < 2:
            raise UsageError("train.sequence_length is 1; it must be at least 2: the last position has no label.")
        if config.warmup_steps < 0:
            raise UsageError(f"train.warmup_steps is {config.warmup_steps}; it must be 0 or more.")
        if idle := idle_key(config):
            raise UsageError(f"train.{idle[0]} {idle[1]}.")
        for stage in self.stages:
            if stage.horizon < stage.num_steps:
                raise UsageError(
                    f"train.stages: {stage.name}: horizon_tokens is less than its max_tokens; its schedule would end "
                    "before it does."
                )
        if config.checkpoints is not None and config.checkpoints > self.num_steps:
            raise UsageError(f"train.checkpoints is {config.checkpoints}, but there are {self.num_steps} steps.")
        if self.first_step >= self.num_steps:
            raise UsageError(
                f"train.max_tokens is {config.max_tokens}, {self.num_steps} steps, of which {self.first_step} are done "
                f"in {config.init_from}: with train.extend it counts from that run's start. Raise it."
            )

    @property
    def batch_instances(self) -> int:
        """Sequences in a step, over all processes."""
        return instances_of(self.train)

    @property
    def num_steps(self) -> int:
        """Steps that fit into `max_tokens`, or into each stage's, at least 1."""
        return self.stages[-1].last_step

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages; one where the recipe has none."""
        return stages_of(self.train)

    @property
    def first_step(self) -> int:
        """Steps that count as done before the first one."""
        return self.init.step if self.init is not None and self.init.extend else 0

    def model_record(self) -> dict[str, Any]:
        """What makes numbers of weights: architecture and shape."""
        return {"architecture": spec_of(self.model).name, "model": asdict(self.model)}

    def as_dict(self) -> dict[str, Any]:
        """What `config.json` holds."""
        train = asdict(self.train)
        del train["processes"]
        return {
            "format": FORMAT,
            "train": train,
            **self.model_record(),
            "module": None if self.module is None else asdict(self.module),
            "eos_id": self.eos_id,
            "dataset": self.dataset,
            "seed": self.seed,
            **({"init": asdict(self.init)} if self.init else {}),
            **({"objective": self.train.objective} if self.train.objective != "next_token" else {}),
        }


def instance_tokens(config: TrainConfig) -> int:
    """Tokens of what is trained on as one: a sequence, or the two of a pair."""
    return config.sequence_length * (2 if isinstance(config, DpoConfig) else 1)


def instances_of(config: TrainConfig) -> int:
    """How many of them are in a batch."""
    return config.batch_tokens // instance_tokens(config)


def train_folder(run_dir: Path) -> Path:
    """Where a run's training lies."""
    return run_dir / "train"


def step_folder(run_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return train_folder(run_dir) / f"step-{step:06d}"


def committed_steps(run_dir: Path) -> list[int]:
    """Steps whose checkpoint is whole, in order."""
    commits = train_folder(run_dir).glob("step-*/commit.json")
    names = [re.fullmatch(r"step-(\d{6,})", path.parent.name) for path in commits]
    return sorted(int(name[1]) for name in names if name)


def write_config(
    run_dir: Path,
    config: TrainConfig,
    *,
    vocab_size: int,
    eos_id: int,
    dataset: str,
    seed: int,
    modules: Sequence[UserModule] = (),
    init: Init | None = None,
    model: Shape | None = None,
) -> Settings:
    """Write `train/config.json`; where there are checkpoints, only if it says what they were made with.

    What is in `compatible.HOW` may change at any time.

    Args:
        config: the recipe's `train`.
        vocab_size: ids of the tokenizer, added tokens included.
        eos_id: the id that ends documents.
        dataset: digest of the shards, from `tokens/manifest.json`.
        seed: the recipe's.
        modules: that the recipe names, installed; the one that declares the architecture is kept with the settings.
        init: what it starts from, if the recipe says so.
        model: its shape, where the section names none.

    Raises:
        UsageError: settings that do not fit each other, or no such model.
        SettingsChangedError: there are checkpoints that were made with other settings; it names the differences.
    """
    settings = settings_of(
        config,
        vocab_size=vocab_size,
        eos_id=eos_id,
        dataset=dataset,
        seed=seed,
        modules=modules,
        init=init,
        model=model,
    )
    path = train_folder(run_dir) / "config.json"
    content = settings.as_dict()
    if committed_steps(run_dir):
        old = read_config(run_dir)
        if changes := conflicts(old, content):
            raise SettingsChangedError(
                f"{path}: the checkpoints there were made with other settings: {'; '.join(changes)}. "
                "Give --redo to train from the start, or set them back to go on."
            )
        content = carried_on(old, content)
    paths.write_bytes(path, pretty(content))
    return read_settings(run_dir)


def settings_of(
    config: TrainConfig,
    *,
    vocab_size: int,
    eos_id: int,
    dataset: str,
    seed: int,
    modules: Sequence[UserModule] = (),
    init: Init | None = None,
    model: Shape | None = None,
) -> Settings:
    """The settings that a recipe's `train` stands for; arguments and errors are those of `write_config`."""
    if model is None:
        model = model_config(
            config.model, vocab_size=vocab_size, sequence_length=config.sequence_length, shape=config.shape
        )
    module = declared_by(spec_of(model).declared_in, modules)
    return Settings(train=config, model=model, eos_id=eos_id, dataset=dataset, seed=seed, module=module, init=init)


def read_config(run_dir: Path) -> dict[str, Any]:
    """What `train/config.json` holds, as it stands there.

    Raises:
        RunError: there is none; the run has not been trained.
        DataError: it is not one, or of another format than this version writes.
    """
    path = train_folder(run_dir) / "config.json"
    if not path.is_file():
        raise RunError(f"{path}: no such file. This run has not been trained: `dolma-pipeline train` comes first.")
    return parse_config(path.read_bytes(), str(path))


def parse_config(content: bytes, place: str) -> dict[str, Any]:
    """The same of a file's content; place: its name in messages.

    Raises:
        DataError: see `read_config`.
    """
    try:
        found: Any = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: damaged: not valid JSON ({error}). Put it back, or give --redo.") from error
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise DataError(f"{place}: format {number}; this version reads format {FORMAT}.")
    return found  # type: ignore[no-any-return]


def read_settings(run_dir: Path) -> Settings:
    """The settings in `train/config.json`.

    The architecture's module, if it is a user's, is run in this process.

    Raises:
        RunError: there are none; the run has not been trained.
        DataError: another format than this version writes.
    """
    content = filled(read_config(run_dir))
    module = UserModule(**content["module"]) if content["module"] else None
    if module is not None:
        install_modules([module], keep=True)
    kind = KINDS[content["objective"]]
    known = {field.name for field in fields(kind)}
    return Settings(
        train=_train_config(kind, {name: _tuple(value) for name, value in content["train"].items() if name in known}),
        model=spec_named(content["architecture"]).config(**content["model"]),
        eos_id=content["eos_id"],
        dataset=content["dataset"],
        seed=content["seed"],
        module=module,
        init=Init(**content["init"]) if "init" in content else None,
    )


def _train_config(kind: type[TrainConfig], content: dict[str, Any]) -> TrainConfig:
    content["stages"] = tuple(StageConfig(**stage) for stage in content["stages"])
    if "template" in content:
        content["template"] = TemplateConfig(**content["template"])
    return kind(**content)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_lines(path: Path, *, until: int) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file whose `step` is at most `until`; none where there is no file.

    A last line without its newline was cut off by a kill, after the last checkpoint; it is left out.

    Raises:
        DataError: a line that is not an object with a whole number as `step`; it names file and line.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            row = orjson.loads(line)
            step = row["step"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            step = None
        if not isinstance(step, int):
            raise DataError(f'{path}:{number}: not an object with a whole number as "step": {line[:80]!r}')
        if step <= until:
            rows.append(row)
    return rows


class Lines:
    """A file of JSON lines that grows by a line a time, and is cut back to a step when opened."""

    def __init__(self, path: Path, *, until: int) -> None:
        """Keep the lines up to step `until` and open the file for more."""
        content = b"".join(map(_line, read_lines(path, until=until)))
        if not path.is_file() or path.read_bytes() != content:
            paths.write_bytes(path, content)
        self._path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open until `close`)

    def append(self, row: dict[str, Any]) -> None:
        """Write one object, its keys sorted.

        Raises:
            RunError: the disk takes it not, or only a part of it.
        """
        line = _line(row)
        with told("written", self._path):
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Make sure that what was written survives a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        self._file.close()


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
