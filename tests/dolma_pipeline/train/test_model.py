from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.language_model import Each
from dolma_pipeline.train.model import IGNORED, Cache, Decoder, nats, rotate, rotations
from dolma_pipeline.train.presets import PRESETS, ModelConfig

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
    num_turned = int(width * config.rope_fraction)
    half = num_turned // 2
    shared = config.num_heads // (config.num_kv_heads or config.num_heads)
    scale = config.attention_scale or (1 / np.sqrt(width) if config.mup_base_width is None else 1 / width)
    bound = config.clip_qkv or np.inf

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        if config.norm == "rms_norm":
            x = x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_eps)
        else:
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config.norm_eps)
        return x * weights.get(f"{name}.weight", 1.0) + weights.get(f"{name}.bias", 0.0)

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        pairs = [(2 * i, 2 * i + 1) if config.rope_interleaved else (i, i + half) for i in range(half)]
        y = x.copy()
        for i, (a, b) in enumerate(pairs):
            z = (x[a] + 1j * x[b]) * np.exp(1j * position * config.rope_theta ** (-i / half))
            y[a], y[b] = z.real, z.imag
        return y

    x = weights["embedding.weight"][tokens] * config.embedding_scale
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        qkv = linear(normed(x, f"{block}.attention_norm"), f"{block}.attention.qkv").clip(-bound, bound)
        q, k, v = np.split(qkv, (config.width, config.width + config.width // shared), axis=-1)
        mixed = np.zeros_like(x)
        for head in range(config.num_heads):
            part = slice(head * width, (head + 1) * width)
            theirs = slice(head // shared * width, (head // shared + 1) * width)
            for t in range(len(tokens)):
                scores = [turned(q[t, part], t) @ turned(k[s, theirs], s) * scale for s in range(t + 1)]
                share = np.exp(scores - np.max(scores))
                mixed[t, part] = share / share.sum() @ v[: t + 1, theirs]
        x = x + linear(mixed, f"{block}.attention.out")
        gate, up = np.split(linear(normed(x, f"{block}.mlp_norm"), f"{block}.mlp.gate_up"), 2, axis=-1)
        x = x + linear(gate / (1 + np.exp(-gate)) * up, f"{block}.mlp.down")
    rows = weights["embedding.weight"] if config.tied else weights["head.weight"]
    logits = normed(x, "final_norm") @ rows.T * config.logit_scale * (config.mup_base_width or config.width)
    return logits[:, : config.vocab_size] / config.width


ONE_BY_ONE: list[dict[str, Any]] = [
    {},
    {"tied": True},
    {"norm": "layer_norm"},
    {"norm": "rms_norm", "norm_eps": 0.1},
    {"biases": True},
    {"num_kv_heads": 2},
    {"num_kv_heads": 1, "biases": True},
    {"rope_fraction": 0.5},
    {"rope_interleaved": True},
    {"rope_theta": 100.0},
    {"clip_qkv": 0.5},
    {"rows_multiple": 1},
    {"embedding_scale": 3.0},
    {"logit_scale": 0.3},
    {"attention_scale": 1.5},
    {"mup_base_width": 16},
]
"""Every field that the decoder's arithmetic depends on."""
SIZE = ("width", "num_layers", "num_heads", "hidden")
CRYSTAL = {name: value for name, value in PRESETS["crystalcoder-7b"].items() if name not in SIZE}


def disturbed(config: ModelConfig) -> Decoder:
    """Norms and biases too have values that differ, so that leaving one out shows."""
    model = built(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=generator))
    return model


@pytest.mark.parametrize("fields", [*ONE_BY_ONE, CRYSTAL], ids=str)
def test_the_decoder_equals_plain_numpy(fields: dict[str, Any]) -> None:
    model = disturbed(dataclasses.replace(SHAPE, **fields))
    tokens = np.random.default_rng(0).integers(0, 200, 11)
    ours = model(torch.from_numpy(tokens)[None])[0].detach().numpy()
    assert ours.shape == (11, 200)  # not 256, the padded rows
    theirs = plain_logits(model, tokens)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(1, np.abs(theirs).max()))


def test_every_field_matters() -> None:
    """Or the test above would say nothing of it."""
    tokens = torch.arange(11)[None]
    plain = disturbed(SHAPE)(tokens)
    for fields in ONE_BY_ONE[1:]:
        if fields != {"rows_multiple": 1}:  # padding that no logit sees
            assert not torch.allclose(disturbed(dataclasses.replace(SHAPE, **fields))(tokens), plain, atol=1e-3), fields


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


def test_logits_become_something_else_some_at_a_time() -> None:
    model = built(SHAPE)
    tokens = torch.arange(24).view(2, 12)
    at = torch.tensor([3, 17, 23, 0, 5])
    sizes = []

    def make(logits_nV: torch.Tensor) -> torch.Tensor:
        sizes.append(len(logits_nV))
        return logits_nV.argmax(-1)

    found = model(tokens, at=at, each=Each(rows=2, make=make))
    assert sizes == [2, 2, 1]
    assert found.tolist() == model(tokens, at=at).argmax(-1).tolist()


def test_nats_are_minus_log_probabilities() -> None:
    logits = torch.tensor([[[0.0, np.log(3.0)], [5.0, 5.0], [1.0, 2.0]]])
    found = nats(logits, torch.tensor([[1, 0, IGNORED]]))
    np.testing.assert_allclose(found, [[-np.log(0.75), np.log(2), 0]], rtol=1e-6)
