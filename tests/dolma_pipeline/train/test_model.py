from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from dolma_pipeline.train.model import IGNORED, Cache, Decoder, initial_std, initial_value, nats, rotate, rotations
from dolma_pipeline.train.presets import ModelConfig

SHAPE = ModelConfig(vocab_size=200, sequence_length=16, width=32, num_layers=2, num_heads=4, hidden=48, tied=False)


def built(config: ModelConfig, seed: int = 1) -> Decoder:
    model = Decoder(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, config=config, seed=seed))
    return model


def plain_logits(model: Decoder, tokens: np.ndarray) -> np.ndarray:
    """The same model for one sequence, in plain numpy at double width, position by position."""
    config = model.config
    weights = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
    width = config.width // config.num_heads
    half = width // 2

    def normed(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config.norm_eps)

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        z = (x[:half] + 1j * x[half:]) * np.exp(1j * position * config.rope_theta ** (-np.arange(half) / half))
        return np.concatenate((z.real, z.imag))

    x = weights["embedding.weight"][tokens]
    for layer in range(config.num_layers):
        w = {
            name: weights[f"blocks.{layer}.{name}.weight"]
            for name in ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
        }
        q, k, v = np.split(normed(x) @ w["attention.qkv"].T, 3, axis=-1)
        mixed = np.zeros_like(x)
        for head in range(config.num_heads):
            part = slice(head * width, (head + 1) * width)
            for t in range(len(tokens)):
                scores = [turned(q[t, part], t) @ turned(k[s, part], s) / np.sqrt(width) for s in range(t + 1)]
                share = np.exp(scores - np.max(scores))
                mixed[t, part] = share / share.sum() @ v[: t + 1, part]
        x = x + mixed @ w["attention.out"].T
        gate, up = np.split(normed(x) @ w["mlp.gate_up"].T, 2, axis=-1)
        x = x + gate / (1 + np.exp(-gate)) * up @ w["mlp.down"].T
    rows = weights["embedding.weight"] if config.tied else weights["head.weight"]
    return (normed(x) @ rows.T)[:, : config.vocab_size]


@pytest.mark.parametrize("tied", [False, True])
def test_the_decoder_equals_plain_numpy(tied: bool) -> None:
    model = built(dataclasses.replace(SHAPE, tied=tied))
    tokens = np.random.default_rng(0).integers(0, 200, 11)
    ours = model(torch.from_numpy(tokens)[None])[0].detach().numpy()
    assert ours.shape == (11, 200)  # not 256, the padded rows
    np.testing.assert_allclose(ours, plain_logits(model, tokens), rtol=0, atol=2e-5)


def test_a_position_does_not_see_the_future() -> None:
    model = built(SHAPE)
    tokens = torch.arange(16)[None]
    other = tokens.clone()
    other[0, 9:] = 77
    before, after = model(tokens), model(other)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_rotated_products_depend_on_distance_only() -> None:
    cos, sin = rotations(SHAPE, torch.arange(16))
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 16, 8)
    products = (rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2))[0, 0]
    assert products[5, 3].item() == pytest.approx(products[12, 10].item(), rel=1e-5)
    assert products[5, 3].item() != pytest.approx(products[5, 4].item(), rel=1e-2)


@pytest.mark.parametrize("shape", [{}, {"num_kv_heads": 2, "norm": "rms_norm", "rope_fraction": 0.5}])
def test_reading_on_from_a_cache_is_reading_at_once(shape: dict[str, Any]) -> None:
    model = built(dataclasses.replace(SHAPE, **shape))
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (2, 12)))
    cache = Cache()
    first = model(tokens[:, :7], cache=cache)
    mask = (torch.arange(12) <= torch.arange(7, 12)[:, None]).expand(2, 5, 12)
    rest = model(tokens[:, 7:], positions_BT=torch.arange(7, 12).expand(2, 5), mask_BTS=mask, cache=cache)
    torch.testing.assert_close(torch.cat((first, rest), dim=1), model(tokens), rtol=0, atol=2e-6)


def test_logits_are_computed_where_asked_for() -> None:
    model = built(SHAPE)
    tokens = torch.arange(24).view(2, 12)
    at = torch.tensor([3, 17, 23])
    torch.testing.assert_close(model(tokens, at=at), model(tokens).flatten(0, 1)[at], rtol=0, atol=2e-6)


def test_nats_are_minus_log_probabilities() -> None:
    logits = torch.tensor([[[0.0, np.log(3.0)], [5.0, 5.0], [1.0, 2.0]]])
    found = nats(logits, torch.tensor([[1, 0, IGNORED]]))
    np.testing.assert_allclose(found, [[-np.log(0.75), np.log(2), 0]], rtol=1e-6)


def test_first_weights_depend_on_seed_and_name_only() -> None:
    shape = torch.Size((64, 32))
    first = initial_value("head.weight", shape, config=SHAPE, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, initial_value("head.weight", shape, config=SHAPE, seed=1))
    assert not torch.equal(first, initial_value("head.weight", shape, config=SHAPE, seed=2))
    assert not torch.equal(first, initial_value("embedding.weight", shape, config=SHAPE, seed=1))


def test_first_weights_are_spread_as_they_should() -> None:
    assert initial_std("embedding.weight", SHAPE) == pytest.approx(32**-0.5)
    assert initial_std("blocks.1.mlp.gate_up.weight", SHAPE) == pytest.approx(32**-0.5)
    assert initial_std("blocks.0.attention.out.weight", SHAPE) == pytest.approx((2 * 32) ** -0.5)
    assert initial_std("blocks.1.mlp.down.weight", SHAPE) == pytest.approx((2 * 48 * 2) ** -0.5)
    std = 32**-0.5
    value = initial_value("head.weight", torch.Size((2000, 32)), config=SHAPE, seed=1)
    assert value.abs().max() <= 3 * std
    assert value.std().item() == pytest.approx(0.9866 * std, rel=0.02)  # a normal cut at 3 has 0.9866 of its spread
    assert value.mean().item() == pytest.approx(0, abs=0.01 * std * 3)
