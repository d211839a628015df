"""The order of training, as arithmetic: which instances a rank sees at a step, and when an instance is seen.

Nothing is logged during training, and everything is known afterwards. It does not depend on the number of ranks, on
workers, or on file names; only on how many instances there are. `hashed` draws each epoch of each seed by itself;
`olmo-core` is OLMo-core's order exactly, whose epoch 2 of seed 1 is epoch 1 of seed 2.
Cost: one shuffle for each epoch (~10 ns an instance, 4 bytes each), kept for the last two epochs asked for.
Source: OLMo-core, `data/data_loader.py` (NumpyDataLoaderBase), `data/utils.py` (get_rng).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError

OrderKind = Literal["hashed", "olmo-core"]

Shuffles = Callable[[int, int], NDArray[np.uint32]]

_MAX_INSTANCES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Order:
    """What defines an order: this and nothing else, for instances as `TokenDataset` counts them.

    num_instances: in the dataset. batch_instances: of all ranks together, at each step. seed: of the shuffle.
    kind: how an epoch's shuffle comes of the seed: `hashed` or `olmo-core`.
    UsageError where there is not one whole batch.
    """

    num_instances: int
    batch_instances: int
    seed: int
    kind: OrderKind = "hashed"

    def __post_init__(self) -> None:
        if self.batch_instances < 1:
            raise UsageError(f"a batch of {self.batch_instances} instances: at least 1 is needed")
        if self.num_instances < self.batch_instances:
            raise UsageError(
                f"the dataset has {self.num_instances} instances, fewer than the {self.batch_instances} of one batch; "
                "make more tokens, or lower train.batch_tokens or train.sequence_length"
            )
        if self.num_instances > _MAX_INSTANCES:
            raise UsageError(f"{self.num_instances} instances; the order holds at most {_MAX_INSTANCES}")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not seen in that epoch."""
        return self.num_instances // self.batch_instances

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, of a step, from 1. UsageError for a step below 1."""
        if step < 1:
            raise UsageError(f"step {step}: steps are counted from 1")
        return 1 + (step - 1) // self.steps_per_epoch

    def shuffle_seed(self, epoch: int) -> int:
        """What PCG64 is seeded with for an epoch: seed + epoch for `olmo-core`, else 128 bits of a hash of both."""
        if self.kind == "olmo-core":
            return self.seed + epoch
        return int.from_bytes(hashlib.sha256(f"order/{self.seed}/{epoch}".encode()).digest()[:16], "little")


def shuffle(instances: NDArray[np.uint32], seed: int) -> None:
    """Shuffle in place, by PCG64; the draws depend on nothing but the dtype's width, the number and the seed."""
    np.random.Generator(np.random.PCG64(seed)).shuffle(instances)


@lru_cache(maxsize=2)
def kept_shuffle(num_instances: int, seed: int) -> NDArray[np.uint32]:
    """All instances in the order of one epoch, uint32 [num_instances], read-only; the last two are kept."""
    instances = np.arange(num_instances, dtype=np.uint32)
    shuffle(instances, seed)
    instances.flags.writeable = False
    return instances


def batch_instances(
    step: int, *, rank: int, world_size: int, order: Order, shuffles: Shuffles = kept_shuffle
) -> NDArray[np.uint32]:
    """The instances that a rank sees at a step.

    Args:
        step: counted from 1; goes on through the epochs, each with an order of its own.
        rank: 0 to world_size - 1.
        world_size: number of ranks; must divide the batch.
        order: see `Order`.
        shuffles: gives the shuffle of a number of instances by a seed; `StoredShuffles` shares it with other processes.

    Returns:
        uint32[order.batch_instances / world_size], read-only.
    """
    if not 0 <= rank < world_size:
        raise UsageError(f"rank {rank} of {world_size}: ranks are 0 to {world_size - 1}")
    if order.batch_instances % world_size:
        raise UsageError(f"a batch of {order.batch_instances} instances does not divide by {world_size} ranks")
    epoch = order.epoch_of(step)
    first = (step - 1) % order.steps_per_epoch * order.batch_instances
    mine = slice(first + rank, first + order.batch_instances, world_size)
    return shuffles(order.num_instances, order.shuffle_seed(epoch))[mine]


def step_of(instance: int, *, order: Order, epoch: int = 1) -> int | None:
    """The step at which an instance is seen in an epoch (from 1); None where it falls in the part left over."""
    if not 0 <= instance < order.num_instances:
        raise UsageError(f"instance {instance}: the dataset has {order.num_instances}, counted from 0")
    if epoch < 1:
        raise UsageError(f"epoch {epoch}: epochs are counted from 1")
    place = int(_places(order.num_instances, order.shuffle_seed(epoch))[instance])
    step_in_epoch = place // order.batch_instances
    if step_in_epoch >= order.steps_per_epoch:
        return None
    return (epoch - 1) * order.steps_per_epoch + step_in_epoch + 1


@lru_cache(maxsize=2)
def _places(num_instances: int, seed: int) -> NDArray[np.uint32]:
    """The inverse: where in the order each instance stands."""
    places = np.empty(num_instances, np.uint32)
    places[kept_shuffle(num_instances, seed)] = np.arange(num_instances, dtype=np.uint32)
    places.flags.writeable = False
    return places
