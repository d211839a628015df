"""From the order of training to batches of ids and labels.

Instances are windows of T tokens; the label of a position is the token after it, and the last position has none (as
OLMo-core reads the same shards). An instance in quarantine keeps its place, so that nothing else moves: its tokens
become EOS and none of its labels count. Cost: one read of T tokens an instance from memory-mapped shards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.order import Order, Shuffles, batch_instances, kept_shuffle
from dolma_pipeline.train.model import IGNORED
from dolma_pipeline.train.stages import Stage, stage_at


class Instances(Protocol):
    """What the trainer needs of a dataset; `tokens.dataset.TokenDataset` is one."""

    def __len__(self) -> int:
        """How many instances there are."""

    def __getitem__(self, instance: int, /) -> NDArray[np.unsignedinteger[Any]]:
        """The ids of an instance, T of them."""


class Sources(Protocol):
    """Of which source tokens are; `tokens.sources.TokenSources` is one."""

    def __getitem__(self, instance: int, /) -> NDArray[np.int16]:
        """The number of the source of each token of an instance, T of them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process computes on in one step.

    instances: their numbers in the dataset. tokens, labels: int64 [B, T] on the CPU; `IGNORED` where nothing is scored.
    more: what else an objective needs, by name, each with B first.
    """

    instances: list[int]
    tokens: Tensor
    labels: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def split(self, size: int) -> list[Batch]:
        """Parts of at most `size` instances, in order."""
        firsts = range(0, len(self.instances), size)
        return [self._part(slice(first, first + size)) for first in firsts]

    def take(self, rows: Sequence[int], *, size: int) -> Batch:
        """Some of its instances, filled up to `size` with ones of which nothing counts (number -1).

        Processes that compute together must have equally many.
        """
        num_blank = size - len(rows)
        tokens, labels = self.tokens[[*rows]], self.labels[[*rows]]
        return Batch(
            [self.instances[row] for row in rows] + [-1] * num_blank,
            _filled(tokens, num_blank),
            torch.cat((labels, labels.new_full((num_blank, labels.shape[1]), IGNORED))),
            {name: _filled(value[[*rows]], num_blank) for name, value in self.more.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on a device."""
        more = {name: value.to(device) for name, value in self.more.items()}
        return Batch(self.instances, self.tokens.to(device), self.labels.to(device), more)

    def _part(self, at: slice) -> Batch:
        more = {name: value[at] for name, value in self.more.items()}
        return Batch(self.instances[at], self.tokens[at], self.labels[at], more)


def _filled(value: Tensor, num_blank: int) -> Tensor:
    """With so many rows of zeros more."""
    return torch.cat((value, value.new_zeros(num_blank, *value.shape[1:])))


class Batches(Protocol):
    """Where the loop gets what a process computes on; `TokenBatches` reads it of shards of tokens."""

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        """The batch of this process at a step (from 1); `masked` instances keep their place and do not count."""


@dataclass(frozen=True, slots=True)
class TokenBatches:
    """Batches of a dataset in an order, for one process.

    eos_id: of masked instances. vocab_size: bound of ids. shuffles: see `batch_instances`. sources: of the tokens of an
    instance, int16 [T]; where there are some, `more["sources"]` of a batch is the source of each label.
    """

    dataset: Instances
    order: Order
    rank: int
    world_size: int
    eos_id: int
    vocab_size: int
    shuffles: Shuffles = kept_shuffle
    sources: Sources | None = None

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        """See `read_batch`."""
        batch = read_batch(
            step,
            dataset=self.dataset,
            order=self.order,
            rank=self.rank,
            world_size=self.world_size,
            masked=masked,
            eos_id=self.eos_id,
            vocab_size=self.vocab_size,
            shuffles=self.shuffles,
        )
        if self.sources is None:
            return batch
        sources_BT = np.full(batch.labels.shape, -1, np.int64)
        for row, instance in enumerate(batch.instances):
            sources_BT[row, :-1] = self.sources[instance][1:]
        return replace(batch, more={"sources": torch.from_numpy(sources_BT)})


@dataclass(frozen=True, slots=True)
class StagedBatches:
    """Batches of stages that follow each other, each of the parts of its section.

    parts: by section. firsts: where the numbers of each section's instances begin.
    """

    stages: Sequence[Stage]
    parts: Mapping[str, Batches]
    firsts: Mapping[str, int]

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        """The batch of this process at a step, counted over all stages; instances are numbered over all sections."""
        stage = stage_at(self.stages, step)
        first = self.firsts[stage.tokens]
        own = frozenset(instance - first for instance in masked)
        batch = self.parts[stage.tokens].read(stage.offset + step - stage.done, masked=own)
        return replace(batch, instances=[first + instance for instance in batch.instances])


def read_batch(
    step: int,
    *,
    dataset: Instances,
    order: Order,
    rank: int,
    world_size: int,
    masked: Collection[int],
    eos_id: int,
    vocab_size: int,
    shuffles: Shuffles = kept_shuffle,
) -> Batch:
    """The batch of a process at a step (from 1).

    Args:
        masked: instances in quarantine.
        vocab_size: ids must be below it.

    Raises:
        DataError: an id that the model has no row for: shards and tokenizer do not belong together.
    """
    instances = [
        int(i) for i in batch_instances(step, rank=rank, world_size=world_size, order=order, shuffles=shuffles)
    ]
    tokens_BT = np.stack([dataset[i].astype(np.int64) for i in instances])
    rows, columns = np.nonzero(tokens_BT >= vocab_size)
    if len(rows):
        raise DataError(
            f"instance {instances[rows[0]]}: token {columns[0]} is {tokens_BT[rows[0], columns[0]]}, but the "
            f"vocabulary has {vocab_size} ids. The shards were made with another tokenizer or read with another width."
        )
    labels_BT = np.full_like(tokens_BT, IGNORED)
    labels_BT[:, :-1] = tokens_BT[:, 1:]
    for row, instance in enumerate(instances):
        if instance in masked:
            tokens_BT[row] = eos_id
            labels_BT[row] = IGNORED
    return Batch(instances, torch.from_numpy(tokens_BT), torch.from_numpy(labels_BT))
