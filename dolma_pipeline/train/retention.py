"""Which checkpoints stay, and whether the disk has room for them. Does not load torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import RunError
from dolma_pipeline.io.disk import free_bytes, size_text
from dolma_pipeline.train.files import Settings, committed_steps, train_folder
from dolma_pipeline.train.stages import is_saved

BYTES_PER_PARAMETER = 12
"""A weight and two moments, float32."""


def kept(steps: Iterable[int], config: TrainConfig) -> list[int]:
    """Steps whose checkpoints stay: the last `keep_last`, and multiples of `keep_every_steps` (0 is one); sorted.

    All of them where `keep_last` is not given.
    """
    known = sorted(steps)
    if config.keep_last is None:
        return known
    every = config.keep_every_steps
    return sorted({*known[-config.keep_last :], *(step for step in known if every is not None and step % every == 0)})


def superseded(run_dir: Path, config: TrainConfig, *, until: int) -> list[int]:
    """Steps whose checkpoints go, up to a step that is whole. Later ones are damaged, and replace none."""
    steps = [step for step in committed_steps(run_dir) if step <= until]
    return sorted({*steps} - {*kept(steps, config)})


def steps_to_save(settings: Settings, *, done: int | None) -> list[int]:
    """The steps whose checkpoints are still to be written, signals left aside. done: None where nothing is."""
    first = settings.first_step if done is None else done
    later = [step for step in range(first + 1, settings.num_steps + 1) if is_saved(step, settings.stages)]
    return [first, *later] if done is None else later


def disk_told(run_dir: Path, settings: Settings, *, done: int | None) -> str:
    """What checkpoints will take of the disk, in a sentence; "" where none is left to write.

    Args:
        done: step of the checkpoint that training goes on from.

    Raises:
        RunError: there is not even room for one.
    """
    to_save = steps_to_save(settings, done=done)
    if not to_save:
        return ""
    each = BYTES_PER_PARAMETER * settings.model.num_parameters
    there, config = committed_steps(run_dir), settings.train
    most = _most_at_once(there, to_save, config)
    free = free_bytes(train_folder(run_dir))
    text = (
        f"checkpoints of {size_text(each)}, at most {most} more of them at once: {size_text(each * most)}; "
        f"{size_text(free)} are free in {train_folder(run_dir)}"
    )
    if each > free:
        raise RunError(f"{text}. Not even one fits. Make room, or take another output.")
    return text if each * most <= free else f"warning: {text}. Make room, or set train.keep_last."


def _most_at_once(there: Sequence[int], to_save: Sequence[int], config: TrainConfig) -> int:
    """The most checkpoints beyond those that are there; what goes goes only once the next one is whole."""
    now, most = [*there], 0
    for step in to_save:
        now = [*now, step]
        most = max(most, len(now) - len(there))
        now = kept(now, config)
    return max(most, 1)
