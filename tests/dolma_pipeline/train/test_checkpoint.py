from __future__ import annotations

from pathlib import Path

import torch

from dolma_pipeline.train.checkpoint import load_model, load_newest, save
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.optim import adamw
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.world import World


def trained(settings: Settings, world: World, *, seed: int, num_steps: int) -> tuple[Decoder, torch.optim.AdamW]:
    model = build(settings.model, seed=seed, mesh=world.mesh, device=world.device, precision="fp32")
    optimizer = adamw(model, settings.train)
    for step in range(num_steps):
        model(torch.full((1, 4), step)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def state(model: Decoder, optimizer: torch.optim.AdamW) -> list[torch.Tensor]:
    tensors = [p.detach() for p in model.parameters()]
    tensors += [value for p in model.parameters() for value in optimizer.state[p].values()]
    return [t.full_tensor() if hasattr(t, "full_tensor") else t for t in tensors]


def test_weights_and_moments_come_back(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=3)
    save(tmp_path, 3, model=model, optimizer=optimizer, num_tokens=12)
    other, other_optimizer = trained(settings, world, seed=2, num_steps=1)
    assert not torch.equal(state(model, optimizer)[0], state(other, other_optimizer)[0])
    assert load_newest(tmp_path, model=other, optimizer=other_optimizer) == 3
    for ours, theirs in zip(state(model, optimizer), state(other, other_optimizer), strict=True):
        assert torch.equal(ours, theirs)
    assert {float(s["step"]) for s in other_optimizer.state.values()} == {3.0}


def test_saving_before_the_first_step_is_no_step(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    save(tmp_path, 0, model=model, optimizer=optimizer, num_tokens=0)
    assert load_newest(tmp_path, model=model, optimizer=optimizer) == 0
    assert {float(s["step"]) for s in optimizer.state.values()} == {0.0}


def test_the_newest_whole_one_is_taken(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    assert load_newest(tmp_path, model=model, optimizer=optimizer) is None
    for step in (2, 10, 4):
        save(tmp_path, step, model=model, optimizer=optimizer, num_tokens=step)
    (tmp_path / "train/step-000010/commit.json").unlink()
    assert load_newest(tmp_path, model=model, optimizer=optimizer) == 4


def test_an_unsharded_model_reads_it(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=2)
    save(tmp_path, 2, model=model, optimizer=optimizer, num_tokens=8)
    plain = Decoder(settings.model)
    load_model(tmp_path, 2, model=plain)
    for ours, theirs in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs.full_tensor().cpu())
