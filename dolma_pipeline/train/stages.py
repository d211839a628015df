"""Stages of one training run: each its own parts, length and schedule; steps are counted over all of them.

A run without `train.stages` is one stage. Batches are those of the stage's own parts in their own order; parts that an
earlier stage has read go on where it stopped. Does not load torch.
Source: CrystalCoder's three stages (Liu et al. 2023, arXiv 2312.06550, section 4), of which the first has a schedule
that is longer than the stage; Amber's 360 pieces of the data with a checkpoint each (section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dolma_pipeline.config.recipe import StageConfig, TrainConfig
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.tokens.dataset import TokenDataset

TOKENS = "tokens"
"""The section whose parts are read where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of steps.

    name: "" in a run that has no stages. tokens: section whose parts it reads. done: steps before it. num_steps: of
    its own. horizon: steps that its schedule is for. config: the run's, with the stage's keys in it. offset: batches
    of the same parts that earlier stages have read. reset: it begins with an optimizer that has seen nothing.
    """

    name: str
    tokens: str
    done: int
    num_steps: int
    horizon: int
    config: TrainConfig
    offset: int
    reset: bool

    @property
    def last_step(self) -> int:
        """Its last step, counted over all stages."""
        return self.done + self.num_steps


def stages_of(config: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a run, in order; one where it has none."""
    if not config.stages:
        num_steps = max(1, config.max_tokens // config.batch_tokens)
        one = Stage(
            name="", tokens=TOKENS, done=0, num_steps=num_steps, horizon=num_steps, config=config, offset=0, reset=False
        )
        return (one,)
    found: list[Stage] = []
    read: dict[str, int] = {}
    for each in config.stages:
        num_steps = max(1, each.max_tokens // config.batch_tokens)
        horizon = num_steps if each.horizon_tokens is None else each.horizon_tokens // config.batch_tokens
        stage = Stage(
            name=each.name,
            tokens=each.tokens,
            done=found[-1].last_step if found else 0,
            num_steps=num_steps,
            horizon=horizon,
            config=_with_keys(config, each),
            offset=read.get(each.tokens, 0),
            reset=each.reset_optimizer,
        )
        read[each.tokens] = stage.offset + num_steps
        found.append(stage)
    return tuple(found)


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage of a step, from 1."""
    return next(stage for stage in stages if step <= stage.last_step)


def sections_of(config: TrainConfig) -> tuple[str, ...]:
    """The sections whose parts a run reads, in the order in which they are first read."""
    return tuple(dict.fromkeys(stage.tokens for stage in stages_of(config)))


def dataset_of(digests: Mapping[str, str]) -> str:
    """The digest of what a run reads. digests: of its sections; of one it is that one's."""
    return next(iter(digests.values())) if len(digests) == 1 else digest(dict(digests))


def open_parts(run_dir: Path, config: TrainConfig) -> dict[str, TokenDataset]:
    """The parts of each section that a run reads, in that order.

    Raises:
        DataError: parts that are not there, or not whole.
    """
    return {
        section: TokenDataset(run_dir / section / "train", sequence_length=config.sequence_length)
        for section in sections_of(config)
    }


def first_instances(sizes: Mapping[str, int]) -> dict[str, int]:
    """Where the numbers of each section's sequences begin: they are counted on from section to section.

    Args:
        sizes: section -> sequences in it, in order.
    """
    firsts, total = {}, 0
    for section, size in sizes.items():
        firsts[section], total = total, total + size
    return firsts


def is_saved(step: int, stages: Sequence[Stage]) -> bool:
    """Whether a checkpoint is written after a step: at the end of a stage, where it is scored, and every
    `save_every_steps` or at the end of each of `checkpoints` equal pieces of the run."""
    config, last = stages[-1].config, stages[-1].last_step
    if any(step == stage.last_step for stage in stages) or is_scored(step, config):
        return True
    if config.checkpoints is None:
        return step % config.save_every_steps == 0
    return step * config.checkpoints // last > (step - 1) * config.checkpoints // last


def is_scored(step: int, config: TrainConfig) -> bool:
    """Whether the checkpoint of a step is scored while training goes on: every `eval_every_steps`, from 0."""
    return config.eval_every_steps is not None and step % config.eval_every_steps == 0


def _with_keys(config: TrainConfig, stage: StageConfig) -> TrainConfig:
    given = {name: getattr(stage, name) for name in ("lr", "warmup_steps", "schedule", "final_lr_share", "decay_share")}
    return replace(config, **{name: value for name, value in given.items() if value is not None})
