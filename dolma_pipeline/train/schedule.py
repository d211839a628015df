"""What changes from step to step: the learning rate, and the norm that gradients are clipped to.

Sources. A larger norm for the first steps, and linear down to a tenth of the peak: OLMo-7B (Groeneveld et al. 2024,
arXiv 2402.00838, section 3.1). cosine down to a tenth: LLaMA (Touvron et al. 2023, arXiv 2302.13971, section 2.3), and
so Amber and OLMo-1B. wsd (warm-up, stable, decay): MiniCPM (Hu et al. 2024, arXiv 2404.06395, section 4), where a decay
over the last tenth of the steps suffices; here it is a straight line, one of the shapes that Hägele et al. 2024 (arXiv
2405.18392) compare.
"""

from __future__ import annotations

import math

from dolma_pipeline.config.recipe import TrainConfig

FINAL_SHARE = 0.1
"""Schedules that go down end at this share of the peak where `final_lr_share` is left out."""

DECAY_SHARE = 0.1
"""wsd goes down over this share of all steps where `decay_share` is left out."""

CLIP_FACTOR = 10.0
"""Over `grad_clip_warmup_steps` the norm is so many times `max_grad_norm` where no factor is given, as OLMo-7B's."""


def learning_rate(step: int, *, config: TrainConfig, num_steps: int) -> float:
    """The rate of a step (from 1): up in a straight line over `warmup_steps`, then as `schedule` has it.

    constant stays. linear and cosine go down from there to `final_lr_share` of the peak at step `num_steps`. wsd stays,
    and goes down in a line over the last `decay_share` of the steps, never before the warm-up is over. A run of fewer
    steps than the warm-up ends on its way up.
    """
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    start = config.warmup_steps
    if config.schedule == "wsd":
        share = DECAY_SHARE if config.decay_share is None else config.decay_share
        start = max(start, num_steps - max(1, round(share * num_steps)))
        if step <= start:
            return config.lr
    final = FINAL_SHARE if config.final_lr_share is None else config.final_lr_share
    done = (step - start) / (num_steps - start)
    if config.schedule == "cosine":
        return config.lr * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)
    return config.lr * (1 - (1 - final) * done)


def clipping_norm(step: int, *, config: TrainConfig) -> float:
    """The norm that the gradients of a step (from 1) are scaled down to: larger over `grad_clip_warmup_steps`."""
    if step > config.grad_clip_warmup_steps:
        return config.max_grad_norm
    factor = CLIP_FACTOR if config.grad_clip_warmup_factor is None else config.grad_clip_warmup_factor
    return config.max_grad_norm * factor
