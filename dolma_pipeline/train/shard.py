"""A model spread over processes with FSDP2: each holds a slice of every parameter, as float32 masters.

A block is a unit: its parameters are gathered before it runs and freed after. Embedding and output matrix are the
root's, gathered throughout, which also keeps tied weights one parameter. Cost: three times the parameters' bytes
over the wire a micro-batch. Runs on gloo (CPU) and nccl (GPU). One process alone in float32 has nothing to gather, and
its parameters are plain tensors (FSDP would copy each of them three times a micro-batch: a sixth of the time of `20m`
in small batches); the same numbers, and checkpoints of either go into the other.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.first_weights import draw
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.spec import Shape, spec_of


def build(
    config: Shape,
    *,
    seed: int,
    mesh: DeviceMesh,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    activation_checkpointing: Literal["none", "block"] = "none",
    compile_blocks: bool = False,
) -> LanguageModel:
    """A sharded model with its first weights; see `shell` and `draw`."""
    model = shell(
        config,
        mesh=mesh,
        device=device,
        precision=precision,
        activation_checkpointing=activation_checkpointing,
        compile_blocks=compile_blocks,
    )
    draw(model, seed=seed, mesh=mesh, device=device)
    return model


def shell(
    config: Shape,
    *,
    mesh: DeviceMesh,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    activation_checkpointing: Literal["none", "block"] = "none",
    compile_blocks: bool = False,
) -> LanguageModel:
    """A sharded model whose weights are not set yet: a checkpoint or `draw` fills them.

    Args:
        mesh: one axis, all processes; or two, of which the first has copies of the model and the second shares one.
        device: where this process's slices live.
        precision: `bf16` gathers and multiplies in bfloat16; masters, gradients' sums and the optimizer stay float32.
        activation_checkpointing: `block` keeps only the input of each block and computes the rest again on the way
            back; a third more arithmetic, the same bits.
        compile_blocks: by torch.compile; rounds otherwise.

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
    for block in spec.blocks(model):
        # In place of the method, inside of what FSDP hooks onto; names of parameters stay as they are.
        if activation_checkpointing == "block":
            again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
            block.forward = again
        if compile_blocks:
            block.forward = torch.compile(block.forward)
    if mesh.size() > 1 or precision == "bf16":
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
    return model
