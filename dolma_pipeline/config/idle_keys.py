"""Keys of `train` that are written, but do nothing beside the others: each is an error, not a silence."""

from __future__ import annotations

from dolma_pipeline.config.recipe import TrainConfig


def idle_key(train: TrainConfig) -> tuple[str, str] | None:
    """The first key without effect, and why it has none and what to do; None if all have one."""
    if train.final_lr_share is not None and train.schedule == "constant":
        return "final_lr_share", "has no effect with schedule: constant, which stays at the peak; take it out"
    if train.decay_share is not None and train.schedule != "wsd":
        return "decay_share", f"is for schedule: wsd; with schedule: {train.schedule} it has no effect. Take it out"
    if train.grad_clip_warmup_factor is not None and not train.grad_clip_warmup_steps:
        return "grad_clip_warmup_factor", "has no effect without grad_clip_warmup_steps; add them, or take it out"
    return None
