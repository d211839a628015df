"""Checkpoints with torch's distributed checkpoint (DCP): weights and the optimizer's state, whatever the sharding.

Any number of processes reads what any other number wrote; the same number goes on bit for bit. Where the data stands
is arithmetic on the step, so nothing else is saved. A folder counts once `commit.json`, written last, is in it.
Cost: 12 bytes a parameter on disk. Equal runs write equal bytes.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import FORMAT, committed_steps, step_folder

STATE = "model_and_optim"


class _Writer(FileSystemWriter):
    """Leaves the path and the random id out of the metadata, which would differ between equal runs."""

    def storage_meta(self) -> StorageMeta | None:
        return None


def save(run_dir: Path, step: int, *, model: nn.Module, optimizer: torch.optim.Optimizer, num_tokens: int) -> None:
    """Write the checkpoint of a step; all processes call this together.

    Args:
        num_tokens: seen so far; goes into `commit.json`.
    """
    folder = step_folder(run_dir, step)
    if dist.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)  # what a kill left behind
    dist.barrier()
    save_state(_state(model, optimizer), storage_writer=_Writer(folder / STATE))
    dist.barrier()
    if dist.get_rank() == 0:
        paths.write_bytes(folder / "commit.json", pretty({"format": FORMAT, "step": step, "tokens": num_tokens}))
    dist.barrier()


def load_newest(run_dir: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
    """Put the newest whole checkpoint into model and optimizer, in place; all processes call this together.

    Returns:
        Its step, or None if there is none.
    """
    steps = committed_steps(run_dir)
    if not steps:
        return None
    load(_state(model, optimizer), checkpoint_id=step_folder(run_dir, steps[-1]) / STATE)
    return steps[-1]


def load_model(run_dir: Path, step: int, *, model: nn.Module) -> None:
    """Put the weights of a saved step into an unsharded model, in place, without other processes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant
        load({"model": model.state_dict()}, checkpoint_id=step_folder(run_dir, step) / STATE, no_dist=True)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """The tensors themselves, which loading fills in place, in the model's order and under names as OLMo-core's."""
    moments = {name: optimizer.state[parameter] for name, parameter in model.named_parameters()}
    return {"model": model.state_dict(), "optim": {"state": moments}}
