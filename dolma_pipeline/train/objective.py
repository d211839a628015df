"""What is minimised: a sum over the instances of a batch, divided by a count over all processes.

The count is taken over all processes before anything is computed, so a gradient depends neither on the number of
processes nor on where masked instances fall. Sums of each instance are kept apart: they say which one went wrong.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.model import IGNORED, nats


class Objective(Protocol):
    """A loss; `NextToken` is one. Another is one class."""

    def count(self, batch: Batch) -> int:
        """What the loss of this process's batch is divided by, before it is summed over all: labels, or pairs."""

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of each instance of a part of the batch, float32 [B], on the model's device, with gradient.

        Args:
            batch: on the model's device.
        """


class NextToken:
    """Nats of each label that counts: the loss of language models. With labels on answers only it is that of SFT."""

    def count(self, batch: Batch) -> int:
        """Labels that count."""
        return int((batch.labels != IGNORED).sum())

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats of each instance, summed over its labels."""
        return nats(model(batch.tokens), batch.labels).sum(dim=1)
