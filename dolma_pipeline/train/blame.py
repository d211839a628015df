"""Why a step gave no finite numbers: masked data, weights, the learning rate, or sequences, and then which ones.

Everything here is found anew from the batch and the weights as they are, by all processes together, and is the same
for all of them. Cost, of a step that is skipped only: one pass over one sequence, and, where each loss is finite but
the gradient is not, two passes over a part of the batch for each halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dolma_pipeline.errors import RunError
from dolma_pipeline.train.agree import all_of, any_asks
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import nats

Cause = Literal["quarantine", "weights", "rate", "data"]

NormOf = Callable[[Batch], float]
"""The norm of the gradient of a part of this process's batch, over all processes; leaves no gradient."""


class Blame(NamedTuple):
    """Why a step was skipped, and the instances that are to blame, with reasons, sorted: none unless it is the data."""

    cause: Cause
    instances: list[tuple[int, str]]


class Place(NamedTuple):
    """Of an instance of a step: in the batch of all processes, and its loss."""

    place: int
    instance: int
    loss: float


def blame(
    batch: Batch,
    losses_B: Tensor,
    *,
    model: LanguageModel,
    moments: Sequence[Tensor],
    grad_norm: float,
    rank: int,
    size: int,
    norm_of: NormOf,
) -> Blame:
    """What made a step invalid in which something counted.

    Weights first: if they, or the optimizer's moments, are not finite, no sequence is to blame. Then the rate: finite
    weights that are too large for a plain sequence of ids. Then sequences: those of no finite loss, or those whose
    gradient has no finite norm.

    Args:
        losses_B: of this process's batch. moments: of the optimizer. grad_norm: of the step.
        rank, size: of this process, and how many there are; row k of its batch has place k * size + rank.
    """
    if any_asks(not all(map(_finite, (*(p.detach() for p in model.parameters()), *moments)))):
        return Blame("weights", [])
    if any_asks(not math.isfinite(_probe(model, batch, norm_of))):
        return Blame("rate", [])
    rows = [
        Place(row * size + rank, instance, loss)
        for row, (instance, loss) in enumerate(zip(batch.instances, losses_B.tolist(), strict=True))
    ]
    every = sorted(one for part in all_of(lambda: rows) for one in part)
    if found := [one for one in every if not math.isfinite(one.loss)]:
        return Blame("data", sorted((one.instance, f"loss is {one.loss}") for one in found))

    def norm(places: Sequence[Place]) -> float:
        rows = [one.place // size for one in places if one.place % size == rank]
        return norm_of(batch.take(rows, size=-(-len(places) // size)))

    reason = f"its gradient has no finite norm, though its loss is finite; that of the step is {grad_norm}"
    return Blame("data", sorted((one.instance, reason) for one in bisected(every, norm)))


def bisected(places: Sequence[Place], norm: Callable[[Sequence[Place]], float]) -> list[Place]:
    """Those of a set whose norm is not finite, found by halving it: the guilty ones, each by itself.

    Where only both halves together overflow, the half with the larger norm is followed.

    Args:
        norm: of the gradient of a part; the same for all processes.
    """
    if len(places) == 1:
        return list(places)
    half = len(places) // 2
    parts = places[:half], places[half:]
    norms = [norm(part) for part in parts]
    bad = [part for part, one in zip(parts, norms, strict=True) if not math.isfinite(one)]
    if not bad:
        bad = [parts[norms[1] > norms[0]]]
    return [place for part in bad for place in bisected(part, norm)]


def _probe(model: LanguageModel, batch: Batch, norm_of: NormOf) -> float:
    """The loss and the gradient's norm of a plain sequence, added: not finite if one of them is not."""
    tokens_BT = (torch.arange(batch.tokens.shape[1]) % model.config.vocab_size)[None]
    plain = Batch([-1], tokens_BT, tokens_BT.roll(-1, dims=1))
    device = next(model.parameters()).device
    with torch.no_grad():
        loss = nats(model(plain.tokens.to(device)), plain.labels.to(device)).sum().item()
    return loss + norm_of(plain)


def _finite(value: Tensor) -> bool:
    local = value.to_local() if hasattr(value, "to_local") else value
    return bool(torch.isfinite(local).all())


class Patience:
    """Counts steps that are skipped one after the other, and ends the run when they are too many.

    Args:
        most: so many in a row end it. in_a_row: skipped already when it goes on from a checkpoint.
    """

    def __init__(self, most: int, *, in_a_row: int) -> None:
        self._most, self._in_a_row = most, in_a_row

    def after(self, step: int, *, cause: Cause | None, is_last: bool, largest: Callable[[], float]) -> None:
        """Take note of a step.

        Args:
            cause: why it was skipped; None: it was not. is_last: there is none after it.
            largest: finds the largest weight, for the message; all processes call it together.

        Raises:
            RunError: too many, or all there are; says what is to blame.
        """
        self._in_a_row = self._in_a_row + 1 if cause else 0
        if cause and (self._in_a_row >= self._most or (is_last and self._in_a_row >= step)):
            raise RunError(
                f"step {step}: the last {self._in_a_row} steps were all skipped "
                f"(train.max_skipped_steps is {self._most}). " + _told(cause, largest)
            )


def _told(cause: Cause, largest: Callable[[], float]) -> str:
    if cause == "quarantine":
        return "Nothing in them counted: quarantine.jsonl masks every sequence. Take lines out of it, or get more data."
    if cause == "weights":
        return (
            "The weights are to blame: some of them, or of the optimizer's moments, are not finite. Remove the newest "
            "checkpoints to go on from one before, or give --redo with a lower train.lr."
        )
    if cause == "rate":
        return (
            f"The learning rate is to blame: weights have grown up to {largest():.3g}, so that even a plain sequence "
            "has no finite loss or gradient. Remove the newest checkpoints, or give --redo with a lower train.lr or a "
            "longer train.warmup_steps."
        )
    return (
        "The data is to blame: a plain sequence has a finite loss and gradient, those of these steps have not; "
        "quarantine.jsonl names them. Look at their documents, or raise train.max_skipped_steps."
    )


def largest_weight(model: nn.Module) -> float:
    """The largest absolute value of all weights, over all processes."""
    values = (p.detach() for p in model.parameters())
    local = [(v.to_local() if hasattr(v, "to_local") else v) for v in values]
    return max(all_of(lambda: max((v.abs().max().item() for v in local if v.numel()), default=0.0)))
