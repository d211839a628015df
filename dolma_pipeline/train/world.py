"""The group of processes that train together: all of a torchrun, or this one alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh


@dataclass(frozen=True, slots=True)
class World:
    """rank: of this process, from 0. size: number of processes. device: of this one. mesh: one axis, all of them."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started, or be a group of one where it did not.

    Each process gets a GPU of its own if the machine has enough of them, else all work on the CPU.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.device_count() >= local_size:
        device, backend = torch.device("cuda", local_rank), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
        # Gradients of attention differ from run to run by cuDNN's and the memory-efficient kernels, which know no other
        # way; flash's are the same each time when asked to be, and so are those of plain products.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.enable_cudnn_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    else:
        device, backend = torch.device("cpu"), "gloo"
    store = None if "RANK" in os.environ else dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield World(rank, size, device, init_device_mesh(device.type, (size,)))
    finally:
        dist.destroy_process_group()
