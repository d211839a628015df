"""What each of several processes does in test_sharded.py: `torchrun sharded_child.py FOLDER CASE`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.objective import NextToken
from dolma_pipeline.train.optim import adamw
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.step import State, take_step
from dolma_pipeline.train.world import joined

SHAPE = ModelConfig(vocab_size=250, sequence_length=16, width=32, num_layers=2, num_heads=2, hidden=48, tied=False)
SEED = 5


class Watching(NextToken):
    """Notes, as each micro-batch after the first begins, what gradients this process holds, in bytes."""

    def __init__(self) -> None:
        self.calls = 0
        self.held: list[dict[str, int]] = []

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        if self.calls:
            whole = [
                gradient
                for module in model.modules()
                if isinstance(module, FSDPModule)
                for group in module._get_fsdp_state()._fsdp_param_groups
                for one in group.fsdp_params
                for gradient in (one._unsharded_param.grad, one.unsharded_accumulated_grad)
                if gradient is not None
            ]
            self.held.append(
                {
                    "sharded": sum(p.grad.to_local().nbytes for p in model.parameters() if p.grad is not None),
                    "with_gradient": sum(p.grad is not None for p in model.parameters()),
                    "unsharded": sum(gradient.nbytes for gradient in whole),
                }
            )
        self.calls += 1
        return super().losses(model, batch)


def main(folder: Path, shard_over: str) -> None:
    torch.set_num_threads(1)
    with joined(shard_over=shard_over) as world:  # type: ignore[arg-type]
        model = build(SHAPE, seed=SEED, mesh=world.mesh, device=world.device, precision="fp32")
        first = {}
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, DTensor)
            expected = initial_value(name, parameter.shape, config=SHAPE, seed=SEED)
            first[name] = torch.equal(parameter.full_tensor(), expected)
        state, objective = State(model, adamw(model, TrainConfig())), Watching()
        losses = []
        for step in range(1, 5):
            ids = torch.randint(0, 250, (8, 17), generator=torch.Generator().manual_seed(step))[
                world.rank :: world.size
            ]
            batch = Batch(list(range(len(ids))), ids[:, :-1], ids[:, 1:])
            outcome = take_step(
                state, batch, objective=objective, rate=0.01, max_grad_norm=1.0, micro_batch=1, world=world
            )
            losses.append([outcome.loss, outcome.grad_norm])
        found = {
            "losses": losses,
            "first_weights_are_those_of_the_seed": first,
            "held": objective.held,
            "parameters": sum(p.numel() for p in model.parameters()),
            "mine": sum(p.to_local().numel() for p in model.parameters()),
            "mesh": list(world.mesh.shape),
            "size": dist.get_world_size(),
        }
        (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
