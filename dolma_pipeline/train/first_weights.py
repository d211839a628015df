"""First weights of a sharded model, each parameter drawn by one process.

Cost: 30 to 40 ns a number on one core, 2,190 s for 65B parameters if one draws them all. Processes share that: of eight
the longest draws 13 % of 65B, and 15 % of 7B.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.language_model import LanguageModel


def draw(model: LanguageModel, *, seed: int, mesh: DeviceMesh, device: torch.device) -> None:
    """Set the first weights; all processes of `mesh` call this together.

    Each parameter is drawn by one process, which hands each its slice: the largest by the first, and so on, so that
    those that are drawn at the same time have about the same size.
    A parameter's random numbers depend on the seed and its name only (see `initial_value`), so any number of processes
    starts from the same bits.
    """
    size = mesh.size()
    named = sorted(model.named_parameters(), key=lambda pair: -pair[1].numel())
    for first in range(0, len(named), size):
        turn = named[first : first + size]  # drawn at the same time, then handed out one after the other
        drawn = None
        if (rank := dist.get_rank()) < len(turn):
            name, parameter = turn[rank]
            drawn = initial_value(name, parameter.shape, config=model.config, seed=seed).to(device)
        for owner, (_, parameter) in enumerate(turn):
            _hand_out(drawn if owner == rank else None, parameter, owner=owner, mesh=mesh)


def fill(model: LanguageModel, weights: Mapping[str, Tensor], *, mesh: DeviceMesh, device: torch.device) -> None:
    """Set weights that were read; all processes of `mesh` call this together, the first one reads, one at a time."""
    for name, parameter in model.named_parameters():
        full = weights[name].to(device) if dist.get_rank() == 0 else None
        _hand_out(full, parameter, owner=0, mesh=mesh)


@torch.no_grad()
def _hand_out(full: Tensor | None, parameter: Tensor, *, owner: int, mesh: DeviceMesh) -> None:
    """Copy its slice of `full`, which `owner` has, into each process's part of a parameter.

    FSDP cuts along the first axis into pieces of equally many rows; the last ones may be shorter or empty.
    """
    if mesh.size() == 1:
        assert full is not None
        (parameter.to_local() if isinstance(parameter, DTensor) else parameter).copy_(full)
        return
    assert isinstance(parameter, DTensor)
    places = mesh.mesh.reshape(-1, mesh.mesh.shape[-1])  # [copies, pieces]
    num_pieces = places.shape[1]
    rows = -(-parameter.shape[0] // num_pieces)
    mine = torch.empty((rows, *parameter.shape[1:]), device=parameter.device)
    pieces = None
    if full is not None:
        padded = full.new_zeros((rows * num_pieces, *full.shape[1:]))
        padded[: full.shape[0]] = full
        of_rank = {int(rank): piece for row in places for piece, rank in enumerate(row)}
        pieces = [padded[rows * of_rank[rank] : rows * (of_rank[rank] + 1)] for rank in range(mesh.size())]
    dist.scatter(mine, pieces, src=owner)
    local = parameter.to_local()
    local.copy_(mine[: local.shape[0]])
