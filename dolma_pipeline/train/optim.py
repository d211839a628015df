"""AdamW.

Weight decay is of the kinds of parameters that the recipe names, by default matrices only, and each parameter learns
at its role's share of the rate. What a step takes off a weight is its own rate times the decay, as torch and
CrystalCoder have it, so under muP hidden matrices are decayed less the wider they are.
Source: Loshchilov and Hutter 2019 (arXiv 1711.05101); the defaults are OLMo-7B's (arXiv 2402.00838, section 3.1).
Cost: two more copies of the parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.spec import spec_of


def adamw(model: LanguageModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all parameters of `model`, a group for each weight decay and share of the rate that roles ask for.

    With tied weights the output matrix is the embedding, and is decayed if that is.

    Raises:
        UsageError: `train.weight_decay_on` names a kind of which the model has none.
    """
    spec, grouped = spec_of(model.config), dict[tuple[float, float], list[nn.Parameter]]()
    roles = {name: spec.role(name, model.config) for name, _ in model.named_parameters()}
    if none := sorted({*config.weight_decay_on} - {role.kind for role in roles.values()}):
        raise UsageError(
            f"train.weight_decay_on names {' and '.join(none)}, but this model has none. Take it out, or choose "
            "another shape (train.model, train.shape)."
        )
    for name, parameter in model.named_parameters():
        role = roles[name]
        decay = config.weight_decay if role.kind in config.weight_decay_on else 0.0
        grouped.setdefault((decay, role.rate_scale), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "rate_scale": scale}
        for (decay, scale), parameters in grouped.items()
    ]
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
    """Let the next step be of this learning rate, each group at its share."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Set all moments and counts to zero, as before the first step."""
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()
