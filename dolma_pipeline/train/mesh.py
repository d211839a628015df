"""How processes stand to each other: all share one copy of the model, or those of each node do.

Several nodes with a copy each (HSDP; Zhao et al. 2023, arXiv 2304.11277, section 3.2.2) gather parameters inside of a
node, where that is fast, and sum gradients across nodes. The cost is memory: a copy in each node.
"""

from __future__ import annotations

import os
from typing import Literal

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from dolma_pipeline.errors import UsageError


def mesh_shape(size: int, *, node_size: int, shard_over: Literal["all", "node"]) -> tuple[int, ...]:
    """(processes), or (copies of the model, processes that share one).

    Args:
        size: processes. node_size: of them on each node.

    Raises:
        UsageError: nodes of unequal size, each of which is to have a copy.
    """
    if shard_over == "all" or node_size == size:
        return (size,)
    if size % node_size:
        raise UsageError(
            f"train.shard_over is node, but {size} processes are not whole nodes of {node_size}. Start as many "
            "processes on each node (torchrun --nproc-per-node), or set train.shard_over to all."
        )
    return (size // node_size, node_size)


def make_mesh(device_type: str, size: int, *, shard_over: Literal["all", "node"]) -> DeviceMesh:
    """The mesh of all processes; all of them call this together. Nodes are those of torchrun."""
    node_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    shape = mesh_shape(size, node_size=node_size, shard_over=shard_over)
    return init_device_mesh(device_type, shape, mesh_dim_names=("copy", "piece")[-len(shape) :])
