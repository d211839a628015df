"""Batches of dialogues or pairs, in an order: ids, labels on answers only, and what their objective needs besides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dolma_pipeline.tokens.order import Order, batch_instances
from dolma_pipeline.train.adapted import Examples
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.model import IGNORED


@dataclass(slots=True)
class ExampleBatches:
    """Batches of one process.

    eos_id: of masked instances. reference: of pairs, log-probability of each label, float32 [N, L]; see `reference.py`.
    """

    examples: Examples
    order: Order
    rank: int
    world_size: int
    eos_id: int
    reference: NDArray[np.float32] | None = None

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        """The batch of a step; `masked` instances keep their place and do not count."""
        instances = batch_instances(step, rank=self.rank, world_size=self.world_size, order=self.order).tolist()
        batch = take(self.examples, instances)
        gone = [row for row, instance in enumerate(instances) if instance in masked]
        batch.tokens[gone] = self.eos_id
        batch.labels[gone] = IGNORED
        if self.reference is None:
            return batch
        reference = torch.from_numpy(np.ascontiguousarray(self.reference[instances]))
        return Batch(instances, batch.tokens, batch.labels, {**batch.more, "reference": reference})


def take(examples: Examples, instances: list[int]) -> Batch:
    """These examples as a batch: the label of a position is the token after it, if that is one to learn."""
    tokens, scored, segments = (
        _rows(array, instances) for array in (examples.tokens, examples.scored, examples.segments)
    )
    labels = np.full(tokens.shape, IGNORED, np.int64)
    learned = scored[:, 1:].astype(bool) & (segments[:, 1:] == segments[:, :-1])
    labels[:, :-1][learned] = tokens[:, 1:][learned]
    more = {"segments": torch.from_numpy(segments)}
    return Batch(instances, torch.from_numpy(tokens), torch.from_numpy(labels), more)


def _rows(array: NDArray[Any], instances: list[int]) -> NDArray[np.int64]:
    return np.ascontiguousarray(array[instances]).astype(np.int64)
