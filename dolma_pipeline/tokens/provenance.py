"""From a training step to the documents in it: arithmetic and a binary search, without a log of training.

It works for any run whose order is OLMo-core's over our shards. Cost: some ms an instance.
"""

from __future__ import annotations

from dataclasses import dataclass

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.dataset import TokenDataset
from dolma_pipeline.tokens.index import DocumentSpan
from dolma_pipeline.tokens.order import Order, batch_instances


@dataclass(frozen=True, slots=True)
class InstanceDocuments:
    """An instance of a batch, and the documents in it."""

    instance: int
    documents: tuple[DocumentSpan, ...]


def where_is(
    step: int, *, rank: int = 0, world_size: int = 1, order: Order, dataset: TokenDataset
) -> list[InstanceDocuments]:
    """What a rank saw at a step (from 1), instance by instance in the order of the batch.

    With the default rank and world size this is the whole batch. UsageError where the order is of another dataset
    or sequence length, as its number of instances shows.
    """
    if order.num_instances != len(dataset):
        raise UsageError(
            f"the order has {order.num_instances} instances, the dataset {len(dataset)} of "
            f"{dataset.sequence_length} tokens; give the dataset and sequence length of the training run"
        )
    instances = batch_instances(step, rank=rank, world_size=world_size, order=order).tolist()
    return [InstanceDocuments(instance, tuple(dataset.documents(instance))) for instance in instances]
