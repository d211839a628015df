"""What is written gives our logits in a model of its own, written down here as transformers has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dolma_pipeline.train.hugging_face.shape import config_json
from dolma_pipeline.train.hugging_face.weights import as_ours, as_theirs
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from tests.saved_models import random_model

Shape = Callable[..., ModelConfig]

RMS = {"norm": "rms_norm", "norm_eps": 1e-6}
MUP = {"embedding_scale": 3.5, "logit_scale": 0.3, "attention_scale": 0.11}
SHAPES: list[dict[str, Any]] = [
    {},
    {"tied": True},
    {"clip_qkv": 0.4, "num_kv_heads": 2},
    {"rope_interleaved": True, "num_kv_heads": 1, "rope_theta": 50.0},
    MUP,
    MUP | {"tied": True, "rope_interleaved": True},
    {"mup_base_width": 4, "tied": True},
    {"tied": True, "embedding_scale": 3.5},
    MUP | {"mup_base_width": 4, "tied": True},
    RMS,
    RMS | {"num_kv_heads": 2, "tied": True},
    RMS | MUP | {"biases": True, "rope_interleaved": True},
]


def their_logits(weights: dict[str, Tensor], config: dict[str, Any], ids: list[int]) -> Tensor:
    """A plain decoder over their names, a position at a time: `OlmoForCausalLM` and `LlamaForCausalLM`."""
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_width = config["hidden_size"] // heads
    rows = {name: value.double() for name, value in weights.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        if config["model_type"] == "llama":
            return x * (x.square().mean() + config["rms_norm_eps"]).rsqrt() * rows[name + ".weight"]
        return (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()

    def linear(x: Tensor, name: str) -> Tensor:
        y = rows[name + ".weight"] @ x
        return y + rows[name + ".bias"] if name + ".bias" in rows else y

    def turned(x: Tensor, position: int) -> Tensor:
        half = head_width // 2
        angle = position * config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        x = x.view(-1, head_width)
        cos, sin = angle.cos().repeat(2), angle.sin().repeat(2)
        return x * cos + torch.cat((-x[:, half:], x[:, :half]), dim=1) * sin

    keys, values = ([[] for _ in range(config["num_hidden_layers"])] for _ in range(2))
    logits = []
    for position, token in enumerate(ids):
        x = rows["model.embed_tokens.weight"][token]
        for layer in range(config["num_hidden_layers"]):
            block = f"model.layers.{layer}"
            y = norm(x, f"{block}.input_layernorm")
            q, k, v = (linear(y, f"{block}.self_attn.{kind}_proj") for kind in "qkv")
            if bound := config.get("clip_qkv"):
                q, k, v = (part.clamp(-bound, bound) for part in (q, k, v))
            keys[layer].append(turned(k, position))
            values[layer].append(v.view(-1, head_width))
            found = []
            for head, query in enumerate(turned(q, position)):
                own = head // (heads // key_heads)
                scores = torch.stack([key[own] for key in keys[layer]]) @ query / head_width**0.5
                found.append(scores.softmax(0) @ torch.stack([value[own] for value in values[layer]]))
            x = x + linear(torch.cat(found), f"{block}.self_attn.o_proj")
            y = norm(x, f"{block}.post_attention_layernorm")
            gate, up = linear(y, f"{block}.mlp.gate_proj"), linear(y, f"{block}.mlp.up_proj")
            x = x + linear(gate * gate.sigmoid() * up, f"{block}.mlp.down_proj")
        head_name = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
        logits.append(linear(norm(x, "model.norm"), head_name))
    return torch.stack(logits)


def all_theirs(model: Decoder) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in model.named_parameters():
        found |= as_theirs(name, value, model.config)
    return found


@pytest.mark.parametrize("fields", SHAPES)
def test_the_logits_are_the_same(shape: Shape, fields: dict[str, Any]) -> None:
    model = random_model(shape(**fields))
    config = config_json(model.config, form="hf", eos_id=3, dtype="float32")
    ids = [5, 59, 0, 17, 17, 3, 8]
    theirs = their_logits(all_theirs(model), config, ids)
    torch.testing.assert_close(model(torch.tensor([ids]))[0].double(), theirs, rtol=1e-4, atol=1e-4)


def test_names_and_shapes_of_olmo(shape: Shape) -> None:
    assert {name: tuple(value.shape) for name, value in all_theirs(random_model(shape(num_layers=1))).items()} == {
        "model.embed_tokens.weight": (60, 16),
        "model.layers.0.self_attn.q_proj.weight": (16, 16),
        "model.layers.0.self_attn.k_proj.weight": (16, 16),
        "model.layers.0.self_attn.v_proj.weight": (16, 16),
        "model.layers.0.self_attn.o_proj.weight": (16, 16),
        "model.layers.0.mlp.gate_proj.weight": (24, 16),
        "model.layers.0.mlp.up_proj.weight": (24, 16),
        "model.layers.0.mlp.down_proj.weight": (16, 24),
        "lm_head.weight": (60, 16),
    }


def test_names_of_llama(shape: Shape) -> None:
    found = all_theirs(random_model(shape(norm="rms_norm", num_layers=1, biases=True, tied=True, num_kv_heads=2)))
    assert "lm_head.weight" not in found
    more = {name: tuple(value.shape) for name, value in found.items() if "norm" in name or "bias" in name}
    assert more == {
        "model.layers.0.input_layernorm.weight": (16,),
        "model.layers.0.self_attn.q_proj.bias": (16,),
        "model.layers.0.self_attn.k_proj.bias": (8,),
        "model.layers.0.self_attn.v_proj.bias": (8,),
        "model.layers.0.self_attn.o_proj.bias": (16,),
        "model.layers.0.post_attention_layernorm.weight": (16,),
        "model.layers.0.mlp.gate_proj.bias": (24,),
        "model.layers.0.mlp.up_proj.bias": (24,),
        "model.layers.0.mlp.down_proj.bias": (16,),
        "model.norm.weight": (16,),
    }


def test_embedding_and_output_part_where_each_has_a_scale(shape: Shape) -> None:
    model = random_model(shape(tied=True, embedding_scale=2.0, logit_scale=0.5))
    config = config_json(model.config, form="hf", eos_id=3, dtype="float32")
    found = all_theirs(model)
    assert config["tie_word_embeddings"] is False
    assert torch.equal(found["model.embed_tokens.weight"], 4 * found["lm_head.weight"])


def test_rows_of_no_id_are_zero() -> None:
    value = as_ours([torch.ones(60, 16, dtype=torch.bfloat16)], torch.Size((64, 16)))
    assert value.dtype == torch.float32
    assert value.sum(dim=1).tolist() == [16.0] * 60 + [0.0] * 4
