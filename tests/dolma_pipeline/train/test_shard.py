from __future__ import annotations

import pytest
import torch

from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.world import World


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_masters_are_float32_and_start_as_the_seed_says(
    world: World, settings: Settings, precision: str, dtype: torch.dtype
) -> None:
    model = build(settings.model, seed=5, mesh=world.mesh, device=world.device, precision=precision)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        full = initial_value(name, parameter.shape, config=settings.model, seed=5)
        assert torch.equal(parameter.full_tensor().cpu(), full)
    logits = model(torch.zeros(1, 4, dtype=torch.int64, device=world.device))
    assert logits.dtype == dtype
    logits.float().sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
