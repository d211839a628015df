from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.tensor import DTensor

from dolma_pipeline.train import train as loop
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.model import SwiGLU
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_masters_are_float32_and_start_as_the_seed_says(
    world: World, settings: Settings, precision: str, dtype: torch.dtype
) -> None:
    model = build(settings.model, seed=5, mesh=world.mesh, device=world.device, precision=precision)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        full = initial_value(name, parameter.shape, config=settings.model, seed=5)
        assert isinstance(parameter, DTensor) == (precision == "bf16")  # in float32 one process alone needs no FSDP
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        assert torch.equal(whole.cpu(), full)
    logits = model(torch.zeros(1, 4, dtype=torch.int64, device=world.device))
    assert logits.dtype == dtype
    logits.float().sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activation_checkpointing_computes_blocks_twice_and_changes_no_bit(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    passes = 0
    forward = SwiGLU.forward

    def counted(self: SwiGLU, x_BTD: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return forward(self, x_BTD)

    monkeypatch.setattr(SwiGLU, "forward", counted)
    found = {}
    for how in ("none", "block"):
        passes = 0
        one = changed(settings, activation_checkpointing=how, precision=precision, micro_batch_tokens=4 * 32)
        fit(tmp_path / how, settings=one, dataset=corpus, world=world)
        found[how] = passes
    assert found == {"none": 12 * 2 * 2, "block": 2 * 12 * 2 * 2}  # steps x micro-batches x blocks
    assert contents(tmp_path / "none/train") == contents(tmp_path / "block/train")


def test_weights_are_not_drawn_where_a_checkpoint_has_them(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    whole = contents(tmp_path / "train")
    (tmp_path / "train/step-000012/commit.json").unlink()
    drawn: list[int] = []
    monkeypatch.setattr(loop, "draw", lambda model, *, seed, **rest: drawn.append(seed))
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    assert drawn == []
    assert contents(tmp_path / "train") == whole


@pytest.mark.slow
def test_compiled_blocks_give_the_losses_of_others_and_the_same_bits_each_time(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    compiled = changed(settings, compile=True)
    model = fit(tmp_path / "a", settings=compiled, dataset=corpus, world=world)
    assert all(hasattr(block.forward, "_torchdynamo_orig_callable") for block in model.blocks)
    torch.compiler.reset()
    fit(tmp_path / "b", settings=compiled, dataset=corpus, world=world)
    assert contents(tmp_path / "a/train") == contents(tmp_path / "b/train")
    fit(tmp_path / "plain", settings=settings, dataset=corpus, world=world)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / run / "train/metrics.jsonl").read_text().splitlines()]
        for run in ("a", "plain")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    again = changed(settings, compile=True, activation_checkpointing="block")
    fit(tmp_path / "again", settings=again, dataset=corpus, world=world)
    rows = (tmp_path / "again/train/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in rows] == pytest.approx(losses[1], rel=1e-5)
