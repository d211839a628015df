"""The group of processes that train together: all of a torchrun, or this one alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.mesh import make_mesh

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for others before it ends with an error: longer than one writes a checkpoint or shuffles."""


@dataclass(frozen=True, slots=True)
class World:
    """rank: of this process, from 0. size: number of processes. device: of this one. mesh: of all, see `make_mesh`."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh


@contextlib.contextmanager
def joined(*, shard_over: Literal["all", "node"] = "all") -> Iterator[World]:
    """Join the processes that torchrun started, or be a group of one where it did not.

    Each process gets a GPU of its own; where the machine has none, all work on the CPU.

    Raises:
        UsageError: there are GPUs, but fewer than processes.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", "0")), _local_size()
    num_gpus = torch.cuda.device_count()
    if 0 < num_gpus < local_size:
        raise UsageError(
            f"{local_size} processes on a machine that has {num_gpus} GPUs for them. Start one a GPU "
            f"(train.processes: {num_gpus}, or torchrun --nproc-per-node {num_gpus}), or set CUDA_VISIBLE_DEVICES to "
            "nothing to train on the CPU."
        )
    if num_gpus:
        device, backend = torch.device("cuda", local_rank), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
        # Gradients of attention differ from run to run by cuDNN's and the memory-efficient kernels, which know no other
        # way; flash's are the same each time when asked to be, and so are those of plain products. (With `warn_only`
        # flash's are not asked.) cuBLAS wants its workspace fixed for that. New memory stays as it is: torch would
        # fill all of it, logits included, to make reads before writes repeat as well; there are none here.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cuda.enable_cudnn_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    else:
        device, backend = torch.device("cpu"), "gloo"
    store = None if "RANK" in os.environ else dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield World(rank, size, device, make_mesh(device.type, size, shard_over=shard_over))
    finally:
        dist.destroy_process_group()


def warn_of_idle_gpus() -> None:
    """Say on standard error, once a machine, that it has more GPUs than processes."""
    num_gpus, num_processes = torch.cuda.device_count(), _local_size()
    if num_gpus > num_processes and os.environ.get("LOCAL_RANK", "0") == "0":
        print(
            f"train: warning: {num_gpus} GPUs, {num_processes} processes: {num_gpus - num_processes} GPUs are left "
            "idle. Give train.processes, and a batch that divides by it.",
            file=sys.stderr,
            flush=True,
        )


def _local_size() -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
