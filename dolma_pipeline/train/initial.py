"""First values of parameters: from the seed and a parameter's name, spread as its role says."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from dolma_pipeline.train.spec import Shape, spec_of


def initial_value(name: str, shape: torch.Size, *, config: Shape, seed: int) -> Tensor:
    """A full parameter at the start, float32 on the CPU.

    Its random numbers depend on the seed and its name only, so any number of processes and any device start from the
    same weights. Filling shards in place does not do that: on a CPU it depends on the number of processes.
    """
    role = spec_of(config).role(name, config)
    value = torch.full(shape, role.mean, dtype=torch.float32)
    if role.std == 0:
        return value
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:4], "little"))
    if role.cut is None:
        return nn.init.normal_(value, role.mean, role.std, generator=generator)
    low, high = role.mean - role.cut * role.std, role.mean + role.cut * role.std
    return nn.init.trunc_normal_(value, role.mean, role.std, low, high, generator=generator)
