"""A model spread over processes with FSDP2: each holds a slice of every parameter, as float32 masters.

A block is a unit: its parameters are gathered before it runs and freed after. Embedding and output matrix are the
root's, gathered throughout, which also keeps tied weights one parameter. Cost: three times the parameters' bytes
over the wire a step; with one process nothing measurable. Runs on gloo (CPU) and nccl (GPU).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.spec import Shape, spec_of


def build(
    config: Shape, *, seed: int, mesh: DeviceMesh, device: torch.device, precision: Literal["fp32", "bf16"]
) -> LanguageModel:
    """A sharded model with its first weights.

    Args:
        seed: of the weights; the same for any number of processes.
        mesh: one axis, all processes.
        device: where this process's slices live.
        precision: `bf16` gathers and multiplies in bfloat16; masters, gradients' sums and the optimizer stay float32.

    Raises:
        UsageError: an architecture that says another number of parameters than its models have.
    """
    spec = spec_of(config)
    with torch.device("meta"):
        model = spec.build(config)
    found = sum(parameter.numel() for parameter in model.parameters())
    if found != config.num_parameters:
        raise UsageError(
            f"architecture '{spec.name}' says num_parameters {config.num_parameters:,}; its model has {found:,}."
        )
    # Inputs are not cast: ids stay integers and rotary angles stay float32.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bf16" else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    for block in spec.blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, DTensor)
            full = initial_value(name, parameter.shape, config=config, seed=seed)
            # Every process holds the full value, so each takes its slice without a word to the others.
            slices = distribute_tensor(full.to(device), mesh, parameter.placements, src_data_rank=None)
            parameter.to_local().copy_(slices.to_local())
    return model
