"""What the trainer and the evals ask of a model: ids in, logits out, and the shape that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from dolma_pipeline.train.spec import Shape

if TYPE_CHECKING:
    from dolma_pipeline.train.model import Cache


class Each(NamedTuple):
    """What to make of logits, where all of them at once are more than one wants to hold.

    rows: at most so many places at a time. make: their logits [n, vocab_size] -> a row, or some, of what is wanted.
    """

    rows: int
    make: Callable[[Tensor], Tensor]


def read_out(x_ND: Tensor, head: Callable[[Tensor], Tensor], each: Each | None) -> Tensor:
    """The logits that `head` gives of some places, or what `each` makes of them, one below the other."""
    if each is None:
        return head(x_ND)
    return torch.cat([each.make(head(rows)) for rows in torch.split(x_ND, each.rows)])


class LanguageModel(nn.Module):
    """A model of some architecture; each is a subclass. Parameters are all that it learns and all that is saved."""

    config: Shape

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        positions_BT: Tensor | None = None,
        mask_BTS: Tensor | None = None,
        cache: Cache | None = None,
        at: Tensor | None = None,
        each: Each | None = None,
    ) -> Tensor:
        """Ids int64 [B, T] -> logits [B, T, vocab_size]; those of a position depend on ids up to it only.

        Args:
            positions_BT: int64; 0 to T - 1 where it is left out.
            mask_BTS: bool, true where a token may look; causal where it is left out.
            cache: gives what was read before, and takes what is read now.
            at: int64 [N], places in the flattened [B, T]; only their logits are given, [N, vocab_size].
            each: only with `at`: gives what this makes of their logits instead, in their order (`read_out`).

        Training gives the ids alone. A model that cannot do one of the others raises a UsageError that says so.
        """
        raise NotImplementedError
