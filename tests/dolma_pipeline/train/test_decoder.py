"""Roles of the decoder's parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from dolma_pipeline.train.decoder import role
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Role, model_config

SHAPE = ModelConfig(vocab_size=200, sequence_length=16, width=32, num_layers=2, num_heads=4, hidden=48, tied=False)
NAMES = {
    "embedding.weight": "embedding",
    "head.weight": "matrices",
    "final_norm.weight": "norms",
    "final_norm.bias": "norms",
    "blocks.1.attention_norm.weight": "norms",
    "blocks.1.mlp_norm.bias": "norms",
    "blocks.1.attention.qkv.weight": "matrices",
    "blocks.1.attention.qkv.bias": "biases",
    "blocks.1.attention.out.weight": "matrices",
    "blocks.1.attention.out.bias": "biases",
    "blocks.1.mlp.gate_up.weight": "matrices",
    "blocks.1.mlp.gate_up.bias": "biases",
    "blocks.1.mlp.down.weight": "matrices",
    "blocks.1.mlp.down.bias": "biases",
}


def shape(**fields: Any) -> ModelConfig:
    return dataclasses.replace(SHAPE, **fields)


def test_what_each_parameter_is() -> None:
    config = shape(norm="layer_norm", biases=True)
    names = {name for name, _ in Decoder(config).named_parameters() if not name.startswith("blocks.0")}
    assert names == NAMES.keys() | {"blocks.1.attention_norm.bias", "blocks.1.mlp_norm.weight"}
    assert {name: role(name, config).kind for name in NAMES} == NAMES
    assert role("final_norm.weight", config) == Role(kind="norms", mean=1.0, std=0)
    assert role("final_norm.bias", config) == Role(kind="norms", mean=0.0, std=0)


@pytest.mark.parametrize(
    ("fields", "name", "std", "cut"),
    [
        ({}, "embedding.weight", 32**-0.5, 3),
        ({}, "head.weight", 32**-0.5, 3),
        ({}, "blocks.1.attention.qkv.weight", 32**-0.5, 3),
        ({}, "blocks.1.mlp.gate_up.weight", 32**-0.5, 3),
        ({}, "blocks.0.attention.out.weight", (2 * 32) ** -0.5, 3),
        ({}, "blocks.1.attention.out.weight", (2 * 32 * 2) ** -0.5, 3),
        ({}, "blocks.1.mlp.down.weight", (2 * 48 * 2) ** -0.5, 3),
        ({"mup_base_width": 8}, "embedding.weight", 8**-0.5, 3),
        ({"mup_base_width": 8}, "head.weight", 8**-0.5, 3),
        ({"mup_base_width": 8}, "blocks.1.mlp.gate_up.weight", 32**-0.5, 3),
        ({"init": "normal"}, "blocks.1.mlp.down.weight", 0.02, None),
        ({"init": "normal", "init_std": 0.5}, "embedding.weight", 0.5, None),
        ({"init": "normal", "mup_base_width": 8}, "head.weight", 0.02, None),
        ({"init": "normal", "mup_base_width": 8}, "blocks.1.mlp.down.weight", 0.01, None),
        ({"init": "scaled_normal"}, "blocks.0.attention.qkv.weight", 0.02, 2),
        ({"init": "scaled_normal"}, "blocks.0.mlp.down.weight", 0.02 / 2, 2),  # sqrt(2 layers) is 2
    ],
)
def test_first_spread(fields: dict[str, Any], name: str, std: float, cut: float | None) -> None:
    found = role(name, shape(**fields))
    assert (found.mean, found.cut) == (0, cut)
    assert found.std == pytest.approx(std)


def test_crystalcoder_starts_and_learns_as_published() -> None:
    """LLM360/crystalcoder-train, pretrain/params/phase1/params.yaml."""
    config = model_config("crystalcoder-7b", vocab_size=32_032, sequence_length=2048)
    assert isinstance(config, ModelConfig)
    found = {
        name: role(name, config)
        for name in ("embedding.weight", "blocks.9.attention.qkv.weight", "blocks.9.attention.out.weight")
    }
    assert [one.std for one in found.values()] == pytest.approx([0.073, 0.01825, 0.00228125])
    assert [one.cut * one.std for one in found.values() if one.cut] == pytest.approx([0.146, 0.0365, 0.0045625])
    assert [one.rate_scale for one in found.values()] == [1, 0.0625, 0.0625]
    assert role("blocks.9.mlp_norm.weight", config).rate_scale == 1
    assert role("blocks.9.mlp.down.bias", config).rate_scale == 1
    assert config.logit_multiplier == pytest.approx(0.13875)
    assert config.embedding_scale == 14.6
    assert config.attention_multiplier == 1 / 128  # scale_qk_dot_by_d
    assert config.num_rotated == 32


def test_without_mup_all_learn_at_one_rate() -> None:
    with torch.device("meta"):
        names = [name for name, _ in Decoder(shape(norm="layer_norm", biases=True)).named_parameters()]
    assert {role(name, SHAPE).rate_scale for name in names} == {1.0}
