"""The order of a run, and what `train/order.json` says of it. Does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train.files import FORMAT, Settings
from dolma_pipeline.train.stages import first_instances


def order_of(settings: Settings, num_instances: int) -> Order:
    """The order of so many instances.

    Raises:
        UsageError: fewer than a batch.
    """
    return Order(
        num_instances=num_instances,
        batch_instances=settings.batch_instances,
        seed=settings.seed,
        kind=settings.train.order,
    )


def order_content(settings: Settings, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What `order.json` says: one order, or one for each stage.

    Args:
        sizes: section -> instances in it, in the order in which they are first read.

    Raises:
        UsageError: fewer instances than a batch.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "dataset": settings.dataset,
        "sequence_length": settings.train.sequence_length,
        "num_steps": settings.num_steps,
        "kind": settings.train.order,
    }
    orders = {section: order_of(settings, size) for section, size in sizes.items()}
    if not settings.train.stages:
        (only,) = orders.values()
        return content | asdict(only)
    firsts = first_instances(sizes)
    content["stages"] = [
        {
            "name": stage.name,
            "tokens": stage.tokens,
            "first_step": stage.done + 1,
            "num_steps": stage.num_steps,
            "first_batch": stage.offset + 1,
            "first_instance": firsts[stage.tokens],
            **asdict(orders[stage.tokens]),
        }
        for stage in settings.stages
    ]
    return content
