from __future__ import annotations

import dataclasses

import pytest
import torch

from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.presets import ModelConfig

SHAPE = ModelConfig(vocab_size=200, sequence_length=16, width=32, num_layers=2, num_heads=4, hidden=48, tied=False)


def test_first_weights_depend_on_seed_and_name_only() -> None:
    shape = torch.Size((64, 32))
    first = initial_value("head.weight", shape, config=SHAPE, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, initial_value("head.weight", shape, config=SHAPE, seed=1))
    assert not torch.equal(first, initial_value("head.weight", shape, config=SHAPE, seed=2))
    assert not torch.equal(first, initial_value("embedding.weight", shape, config=SHAPE, seed=1))


def test_first_weights_are_spread_as_they_should() -> None:
    std = 32**-0.5
    value = initial_value("head.weight", torch.Size((2000, 32)), config=SHAPE, seed=1)
    assert value.abs().max() <= 3 * std
    assert value.std().item() == pytest.approx(0.9866 * std, rel=0.02)  # a normal cut at 3 has 0.9866 of its spread
    assert value.mean().item() == pytest.approx(0, abs=0.01 * std * 3)


def test_normal_weights_are_not_cut() -> None:
    config = dataclasses.replace(SHAPE, init="normal")
    value = initial_value("head.weight", torch.Size((4000, 32)), config=config, seed=1)
    assert value.std().item() == pytest.approx(0.02, rel=0.02)
    assert 3.5 * 0.02 < value.abs().max() < 6 * 0.02


def test_norms_start_at_one_and_biases_at_zero() -> None:
    config = dataclasses.replace(SHAPE, norm="layer_norm", biases=True)
    ones = initial_value("blocks.0.mlp_norm.weight", torch.Size((32,)), config=config, seed=1)
    assert torch.equal(ones, torch.ones(32))
    for name in ("final_norm.bias", "blocks.1.attention.qkv.bias"):
        assert torch.equal(initial_value(name, torch.Size((32,)), config=config, seed=1), torch.zeros(32))
