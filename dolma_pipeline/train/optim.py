"""AdamW and its learning rate.

Source: Loshchilov and Hutter 2019 (arXiv 1711.05101); weight decay on matrices only, not on the embedding, and the
linear schedule down to a tenth of the peak, as for OLMo-7B (arXiv 2402.00838, section 3.1). Cost: two more copies of
the parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from dolma_pipeline.config.recipe import TrainConfig

FINAL_SHARE = 0.1
"""The linear schedule ends at this share of the peak."""


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all parameters of `model`: the embedding without weight decay, matrices with it.

    With tied weights the output matrix is the embedding, and is not decayed.
    """
    decayed = [p for name, p in model.named_parameters() if not name.startswith("embedding.")]
    spared = [p for name, p in model.named_parameters() if name.startswith("embedding.")]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)
    # Moments exist from the start, so that a checkpoint before the first step can be written: asked for a state that
    # is not there yet, torch runs a step with zero gradients and counts it.
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate(step: int, *, config: TrainConfig, num_steps: int) -> float:
    """The rate of a step (from 1): up in a straight line over `warmup_steps`, then level or down to a tenth.

    A run of fewer steps than the warm-up ends on its way up.
    """
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup_steps) / (num_steps - config.warmup_steps)
    return config.lr * (1 - (1 - FINAL_SHARE) * done)
