"""What the trainer and the evals ask of a model: ids in, logits out, and the shape that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dolma_pipeline.train.spec import Shape

if TYPE_CHECKING:
    from dolma_pipeline.train.model import Cache


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
    ) -> Tensor:
        """Ids int64 [B, T] -> logits [B, T, vocab_size]; those of a position depend on ids up to it only.

        Args:
            positions_BT: int64; 0 to T - 1 where it is left out.
            mask_BTS: bool, true where a token may look; causal where it is left out.
            cache: gives what was read before, and takes what is read now.
            at: int64 [N], places in the flattened [B, T]; only their logits are given, [N, vocab_size].

        Training gives the ids alone. A model that cannot do one of the others raises a UsageError that says so.
        """
        raise NotImplementedError
