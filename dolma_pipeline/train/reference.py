"""What the model of the start says of each answer: computed once, before the first step, and kept with the run.

train/reference.npy    log-probability of each label of each pair, float32 [pairs, 2T]; 0 where there is none
train/reference.json   its sha256, and the digest of the weights that said so; written last
One pair is read at a time, so that the numbers are the same for any number of processes. Cost: a forward pass over
the data, and 4 bytes a token on disk.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.examples import ExampleBatches, take
from dolma_pipeline.train.files import train_folder
from dolma_pipeline.train.objective import pair_logs
from dolma_pipeline.train.world import World


def add_reference(
    run_dir: Path, model: nn.Module, is_first: bool, *, batches: ExampleBatches, weights: str, world: World
) -> None:
    """Give the batches their reference; all processes of `world` call this together.

    Args:
        is_first: the model has the weights of the start, which then speak; else what they said is read.
        weights: digest of the weights of the start.

    Raises:
        DataError: the file is not there, not whole, or of other weights.
    """
    if is_first:
        spoken = log_probabilities(model, batches, world=world)
        if world.rank == 0:
            _write(run_dir, spoken, weights=weights)
        dist.barrier()
    batches.reference = _read(run_dir, weights=weights)


def log_probabilities(model: nn.Module, batches: ExampleBatches, *, world: World) -> NDArray[np.float32]:
    """ln p of each label of all pairs, float32 [N, 2T]; all processes call this together, each gets all."""
    examples = batches.examples
    found = np.zeros(examples.tokens.shape, np.float32)
    for first in range(0, len(examples), world.size):
        batch = take(examples, [min(first + world.rank, len(examples) - 1)]).to(world.device)
        with torch.no_grad():
            own = pair_logs(model, batch.tokens, batch.labels).float()
        every = [torch.empty_like(own) for _ in range(world.size)]
        dist.all_gather(every, own)
        for rank, value in enumerate(every[: len(examples) - first]):
            found[first + rank] = value.cpu().numpy()[0]
    return found


def _write(run_dir: Path, spoken: NDArray[np.float32], *, weights: str) -> None:
    path = train_folder(run_dir) / "reference.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, spoken)
    paths.write_bytes(path.with_suffix(".json"), pretty({"sha256": paths.sha256_file(path), "weights": weights}))


def _read(run_dir: Path, *, weights: str) -> NDArray[np.float32]:
    path = train_folder(run_dir) / "reference.npy"
    about = path.with_suffix(".json")
    if not about.is_file() or not path.is_file():
        raise DataError(f"{path}: not there, and the model has gone on since; only its start can say it. Give --redo.")
    said = json.loads(about.read_bytes())
    if said["weights"] != weights or said["sha256"] != paths.sha256_file(path):
        raise DataError(f"{path}: not what {about} says of it, or of other weights. Give --redo.")
    found: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return found
