"""One step as a function: gradients of a batch, their norm, and the optimizer, if all numbers are finite.

Bad numbers: the gradient's norm is one number, the same everywhere, and not finite if anything anywhere was not. It
is looked at before the optimizer runs; a bad step leaves weights and moments as they were, bit for bit.
Cost: `tiny` trains at about 5,000 tokens a CPU-second; memory is 16 bytes a parameter and about 12 a logit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from dolma_pipeline.train.blame import Blame, blame
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.objective import Losses, Objective
from dolma_pipeline.train.optim import set_rate
from dolma_pipeline.train.world import World


@dataclass(slots=True)
class State:
    """What a step changes. done: steps so far. masked: instances in quarantine."""

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    done: int = 0
    masked: set[int] = field(default_factory=set)


class Outcome(NamedTuple):
    """What a step found, the same on all processes.

    loss: over all that counts, NaN where nothing does. grad_norm: before clipping.
    blame: why nothing was changed, and by whom; None where the optimizer ran. reports: what else the objective says.
    """

    loss: float
    grad_norm: float
    blame: Blame | None
    reports: dict[str, float]

    @property
    def skipped(self) -> bool:
        """Whether weights and moments are as they were."""
        return self.blame is not None


def take_step(
    state: State,
    batch: Batch,
    *,
    objective: Objective,
    rate: float,
    max_grad_norm: float,
    micro_batch: int,
    world: World,
) -> Outcome:
    """Go one step on a batch; all processes of `world` call this together, each with its part of the batch.

    Args:
        rate: learning rate of this step. max_grad_norm: gradients are scaled down to this norm.
        micro_batch: instances that are computed at once.
    """
    (count,) = _sums_over_all(torch.tensor([objective.count(batch)]), world)
    losses_B, reports = forward_backward(
        state.model, batch, objective=objective, count=count, micro_batch=micro_batch, world=world
    )
    found_sums = [value.sum(dtype=torch.float64) for value in (losses_B, *reports.values())]
    total, *report_sums = _sums_over_all(torch.stack(found_sums), world)
    grad_norm = _clip(state.model, max_grad_norm)
    found = None
    if count == 0:
        found = Blame("quarantine", [])
    elif math.isfinite(grad_norm):
        set_rate(state.optimizer, rate)
        state.optimizer.step()
    else:
        state.optimizer.zero_grad()

        def norm_of(part: Batch) -> float:
            forward_backward(state.model, part, objective=objective, count=count, micro_batch=micro_batch, world=world)
            norm = _clip(state.model, max_grad_norm)
            state.optimizer.zero_grad()
            return norm

        found = blame(
            batch,
            losses_B,
            model=state.model,
            moments=[value for of_one in state.optimizer.state.values() for value in of_one.values()],
            grad_norm=grad_norm,
            rank=world.rank,
            size=world.size,
            norm_of=norm_of,
        )
        state.masked.update(instance for instance, _ in found.instances)
    state.optimizer.zero_grad()
    state.done += 1
    told = objective.told(dict(zip(reports, report_sums, strict=True)), count)
    return Outcome(total / count if count else math.nan, grad_norm, found, told)


def forward_backward(
    model: LanguageModel, batch: Batch, *, objective: Objective, count: float, micro_batch: int, world: World
) -> Losses:
    """Gradients of a process's share of the loss, summed over micro-batches.

    Each micro-batch's gradients are reduced and scattered as they come, so that no process ever holds more than its
    slice of them and one block's in full: 4 bytes a parameter over the number of processes. To reduce once at the end
    would save traffic, but needs all gradients in full, 4 bytes a parameter in each process.

    Args:
        count: what the loss is divided by, over all processes.
        micro_batch: instances that are computed at once.

    Returns:
        The loss of each instance before that division, float32 [B], and what else was said of it.
    """
    found = []
    for part in batch.split(micro_batch):
        losses_B, reports = objective.losses(model, part.to(world.device))
        # FSDP takes the mean over processes; times their number makes it the sum. (gloo has no scaled sum.)
        (losses_B.sum() / max(count, 1) * world.size).backward()  # type: ignore[no-untyped-call]
        found.append(Losses(losses_B.detach(), reports))
    names = found[0].reports
    return Losses(
        torch.cat([one.losses for one in found]),
        {name: torch.cat([one.reports[name] for one in found]) for name in names},
    )


def _sums_over_all(values: Tensor, world: World) -> list[float]:
    """Each number summed over all processes."""
    total = values.to(world.device, torch.float64)
    dist.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def _clip(model: nn.Module, max_norm: float) -> float:
    """Clip gradients to a global norm; returns the norm before."""
    total = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return float(total.full_tensor() if isinstance(total, DTensor) else total)
