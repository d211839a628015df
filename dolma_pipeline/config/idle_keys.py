"""Keys of `train` that are written, but do nothing beside the others: each is an error, not a silence."""

from __future__ import annotations

from dolma_pipeline.config.recipe import TrainConfig

DECAYED = TrainConfig().weight_decay_on
"""What is decayed where a recipe does not say."""


def idle_key(train: TrainConfig) -> tuple[str, str] | None:
    """The first key without effect, and why it has none and what to do; None if all have one.

    With `stages`, the schedules are theirs.
    """
    if not train.stages and (idle := _idle_in_schedule(train)):
        return idle
    if train.keep_every_steps is not None and train.keep_last is None:
        return (
            "keep_every_steps",
            "says which checkpoints stay beside the last ones, but all stay: give train.keep_last, how many of the "
            "last ones do, or leave it out",
        )
    if train.weight_decay_on != DECAYED and not train.weight_decay:
        return "weight_decay_on", "says what is decayed, but weight_decay is 0; give one, or take it out"
    if train.grad_clip_warmup_factor is not None and not train.grad_clip_warmup_steps:
        return "grad_clip_warmup_factor", "has no effect without grad_clip_warmup_steps; add them, or take it out"
    return None


def _idle_in_schedule(train: TrainConfig) -> tuple[str, str] | None:
    if train.final_lr_share is not None and train.schedule == "constant":
        return "final_lr_share", "has no effect with schedule: constant, which stays at the peak; take it out"
    if train.decay_share is not None and train.schedule != "wsd":
        return "decay_share", f"is for schedule: wsd; with schedule: {train.schedule} it has no effect. Take it out"
    return None
