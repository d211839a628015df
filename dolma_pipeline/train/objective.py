"""What is minimised: a sum over the instances of a batch, divided by a count over all processes.

The count is taken over all processes before anything is computed, so a gradient depends neither on the number of
processes nor on where masked instances fall. Sums of each instance are kept apart: they say which one went wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.model import IGNORED, nats


class Losses(NamedTuple):
    """Of each instance.

    losses: summed, float32 [B], with gradient. reports: further numbers by name, float32 [B], without; the objective
    says what their sums over all instances tell (`Objective.told`).
    """

    losses: Tensor
    reports: Mapping[str, Tensor]


class Objective(Protocol):
    """A loss; `NextToken` is one. Another is one class."""

    def count(self, batch: Batch) -> int:
        """What the loss of this process's batch is divided by, before it is summed over all: labels, or pairs."""

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each instance of a part of the batch, and what else is to be told of it.

        Args:
            batch: on the model's device.
        """

    def told(self, sums: Mapping[str, float], count: float) -> dict[str, Any]:
        """What goes into `metrics.jsonl`.

        Args:
            sums: the reports, summed over all instances of all processes. count: what the loss was divided by.
        """


@dataclass
class NextToken:
    """Nats of each label that counts: the loss of language models.

    sources: names; where there are some, the loss of each is reported (`loss_by_source`), from
    `batch.more["sources"]`: int64 [B, T], the index of each label's source, -1 of none.
    """

    sources: tuple[str, ...] = ()

    def count(self, batch: Batch) -> int:
        """Labels that count."""
        return int((batch.labels != IGNORED).sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Nats of each instance, summed over its labels; nats and labels of each source."""
        nats_BT = nats(model(batch.tokens), batch.labels)
        reports: dict[str, Tensor] = {}
        if self.sources:
            with torch.no_grad():
                # One column more, for labels that do not count and tokens of no source.
                counts_BT = (batch.labels != IGNORED) & (batch.more["sources"] >= 0)
                column_BT = torch.where(counts_BT, batch.more["sources"], len(self.sources))
                sums_BS = nats_BT.new_zeros(len(nats_BT), len(self.sources) + 1)
                found = {"nats": nats_BT.detach(), "labels": torch.ones_like(nats_BT)}
                for what, value_BT in found.items():
                    each_BS = sums_BS.scatter_add(1, column_BT, value_BT)
                    reports |= {f"{what}/{name}": each_BS[:, i] for i, name in enumerate(self.sources)}
        return Losses(nats_BT.sum(dim=1), reports)

    def told(self, sums: Mapping[str, float], count: float) -> dict[str, Any]:
        """`loss_by_source`: of the sources that have labels in the step."""
        found = {
            name: sums[f"nats/{name}"] / num_labels
            for name in self.sources
            if (num_labels := sums[f"labels/{name}"]) and math.isfinite(sums[f"nats/{name}"])
        }
        return {"loss_by_source": found} if self.sources else {}


class Answers(NextToken):
    """SFT: the same over answers only, of dialogues that share a sequence and do not see each other.

    Each has positions from 0, so a dialogue's loss is what it would be alone. `batch.more["segments"]` says which
    tokens are of one.
    """

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Nats of each sequence, summed over the labels of its answers."""
        positions, mask = apart(batch.more["segments"])
        logits = model(batch.tokens, positions_BT=positions, mask_BTS=mask)
        return Losses(nats(logits, batch.labels).sum(dim=1), {})


@dataclass(frozen=True, slots=True)
class Preferences:
    """DPO: the chosen answer is to gain on the rejected one, against the model that training started from.

    With d the log-probability of an answer less its reference's, the loss of a pair is -ln sigmoid(beta * (d of the
    chosen - d of the rejected)); with label smoothing e it is 1 - e times that, and e times that of the pair turned
    round. An instance is a pair, its first half the chosen dialogue; `batch.more["reference"]` [B, 2T] holds the
    reference's log-probability of each label.
    Reported: `reward_chosen`, `reward_rejected` (beta * d), `reward_margin`, `accuracy` (share of margins above 0), and
    `kl`: over the labels of a pair the mean of (ln r)^2 / 2, where r is the model's probability over the reference's:
    the estimator k2 of Schulman 2020, "Approximating KL divergence", never negative, near KL(model || reference) while
    that is small and the answers are the model's. These are the data's, so it tells how far the model has gone, no
    more. (k3 has no bias, but grows without bound where a rejected answer becomes unlikely.)
    Source: Rafailov et al. 2023 (arXiv 2305.18290), equation 7; label smoothing: Mitchell 2023, "A note on DPO with
    noisy preferences".
    """

    beta: float
    label_smoothing: float = 0.0

    def count(self, batch: Batch) -> int:
        """Pairs that count: those that are not masked."""
        return int((batch.labels != IGNORED).any(dim=1).sum())

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each pair, and its reports."""
        counts_BT = batch.labels != IGNORED
        ratio_BT = (pair_logs(model, batch.tokens, batch.labels) - batch.more["reference"]) * counts_BT
        rewards_B2 = self.beta * ratio_BT.view(len(ratio_BT), 2, -1).sum(dim=2)
        margin_B = rewards_B2[:, 0] - rewards_B2[:, 1]
        turned = self.label_smoothing
        loss_B = -(1 - turned) * F.logsigmoid(margin_B) - turned * F.logsigmoid(-margin_B)
        live_B = counts_BT.any(dim=1)
        with torch.no_grad():
            reports = {
                "reward_chosen": rewards_B2[:, 0],
                "reward_rejected": rewards_B2[:, 1],
                "reward_margin": margin_B,
                "accuracy": (margin_B > 0).float(),
                "kl": (ratio_BT**2 / 2).sum(dim=1) / counts_BT.sum(dim=1).clamp(min=1),
            }
            told = {name: (value * live_B).detach() for name, value in reports.items()}
        return Losses(loss_B * live_B, told)

    def told(self, sums: Mapping[str, float], count: float) -> dict[str, Any]:
        """The mean of each report over the pairs that count."""
        return {name: value / max(count, 1) for name, value in sums.items()}


def pair_logs(model: nn.Module, tokens_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """ln p(label) at each position of pairs, float32 [B, 2T]; 0 where the label is `IGNORED`. The halves of a pair are
    read apart from each other."""
    halves, labels = (value.reshape(2 * len(value), -1) for value in (tokens_BT, labels_BT))
    return -nats(model(halves), labels).view_as(labels_BT)


def apart(segments_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [B, T] and mask [B, T, T] of segments that share a row and do not see each other.

    Args:
        segments_BT: int64; equal numbers that stand together are one segment.
    """
    width = segments_BT.shape[1]
    places = torch.arange(width, device=segments_BT.device)
    begins = torch.ones_like(segments_BT, dtype=torch.bool)
    begins[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    start_BT = (begins * places).cummax(dim=1).values
    causal = places[:, None] >= places[None, :]
    return places - start_BT, causal & (segments_BT[:, :, None] == segments_BT[:, None, :])
