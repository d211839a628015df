from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.train import ModelConfig, model_config
from dolma_pipeline.train.hugging_face.shape import config_json, num_parameters_there
from dolma_pipeline.train.hugging_face.shape_read import differing, shape_of

Shape = Callable[..., ModelConfig]

OLMO_1B = {
    "architectures": ["OlmoForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "clip_qkv": None,
    "eos_token_id": 50279,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 2048,
    "model_type": "olmo",
    "num_attention_heads": 16,
    "num_hidden_layers": 16,
    "num_key_value_heads": 16,
    "pad_token_id": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 50280,
}


def test_olmo_is_as_released() -> None:
    """But for its rows, which are not padded here: allenai/OLMo-1B-hf has 50,304."""
    config = model_config("olmo-1b", vocab_size=50_280, sequence_length=2048)
    assert config_json(config, form="hf", eos_id=50279, dtype="bfloat16") == OLMO_1B
    assert shape_of(OLMO_1B, "config.json") == config


def test_llama(shape: Shape) -> None:
    config = shape(norm="rms_norm", norm_eps=1e-6, num_kv_heads=2, biases=True, rope_theta=5e5)
    content = config_json(config, form="hf", eos_id=2, dtype="float32")
    assert (content["architectures"], content["model_type"]) == (["LlamaForCausalLM"], "llama")
    told = ("rms_norm_eps", "attention_bias", "mlp_bias", "num_key_value_heads", "rope_theta")
    assert [content[key] for key in told] == [1e-6, True, True, 2, 500_000.0]
    assert "clip_qkv" not in content
    assert replace(shape_of(content, "x"), rows_multiple=64) == config


def test_any_shape_in_our_own_form(shape: Shape) -> None:
    config = shape(norm="layer_norm", biases=True, rope_fraction=0.5, rope_interleaved=True, logit_scale=0.1)
    content = config_json(config, form="safetensors", eos_id=2, dtype="float32")
    assert (content["architecture"], content["model_type"]) == ("decoder", "dolma_pipeline")
    assert shape_of(content, "x") == config


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"norm": "layer_norm"}, "LayerNorm with weight and bias"),
        ({"biases": True}, "LayerNorm with biases of matrices"),
        ({"rope_fraction": 0.5}, "positions that turn 0.5 of a head"),
        ({"norm": "rms_norm", "clip_qkv": 8.0}, "RMSNorm with clip_qkv"),
        ({"norm_eps": 1e-6}, r"LayerNorm without parameters with norm_eps 1e-06 \(OLMo's is 1e-05\)"),
        ({"clip_qkv": 8.0, "attention_scale": 0.1}, "clip_qkv with scaled attention"),
    ],
)
def test_shapes_that_no_class_has(shape: Shape, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=f"none has {reason}.*--format safetensors"):
        config_json(shape(**given), form="hf", eos_id=2, dtype="float32")


def test_all_that_does_not_fit_is_named(shape: Shape) -> None:
    crystal = shape(norm="layer_norm", biases=True, rope_fraction=0.5)
    with pytest.raises(UsageError, match=r"weight and bias or positions that turn 0\.5 of a head or LayerNorm with b"):
        config_json(crystal, form="hf", eos_id=2, dtype="float32")


def test_another_architecture_has_no_class(pairs: Any) -> None:
    with pytest.raises(UsageError, match=r"none has the architecture pairs\. --format safetensors writes it"):
        config_json(pairs, form="hf", eos_id=2, dtype="float32")
    assert config_json(pairs, form="safetensors", eos_id=2, dtype="float32")["architecture"] == "pairs"
    assert num_parameters_there(pairs, form="safetensors") == 2 * 13 * 4 + 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; the models that can be read are olmo, llama, dolma_pipeline"),
        ({"model_type": None}, "model_type is None"),
        ({"model_type": ["olmo"]}, r"model_type is \['olmo'\]"),
        ({"hidden_size": None}, "hidden_size is None; a whole number above 0 is needed"),
        ({"num_hidden_layers": "16"}, "num_hidden_layers is '16'; a whole number above 0 is needed"),
        ({"vocab_size": True}, "vocab_size is True; a whole number"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0; a whole number"),
        ({"num_key_value_heads": 3}, "16 heads of queries cannot share 3 of keys"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is .*linear.*rope_type default"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_parameters is .*yarn"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "rope_parameters is .*0.5"),
        ({"rope_theta": "x"}, "rope_theta is 'x'; a number above 0 is needed"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; models that can be read have 'silu'"),
        ({"attention_dropout": 0.1}, "attention_dropout is 0.1; models that can be read have 0.0"),
        ({"head_dim": 64}, "head_dim is 64; models that can be read have 128"),
        ({"attention_bias": True}, "attention_bias is true"),
        ({"clip_qkv": "8"}, "clip_qkv is '8'; a number above 0 is needed"),
        ({"model_type": "llama"}, "has no 'rms_norm_eps', which a model of llama needs"),
        ({"model_type": "llama", "rms_norm_eps": 1e-6, "mlp_bias": True}, "mlp_bias is True; .* have False"),
        ({"model_type": "llama", "rms_norm_eps": 1e-6, "clip_qkv": 8.0}, "clip_qkv is 8.0; .* have None"),
        ({"model_type": "dolma_pipeline"}, "has no 'architecture', which a model of dolma_pipeline needs"),
        (
            {"model_type": "dolma_pipeline", "architecture": "decoder", "shape": {"width": 16}},
            "has no 'vocab_size', which a model of dolma_pipeline needs",
        ),
        (
            {"model_type": "dolma_pipeline", "architecture": "decoder", "shape": {"widths": 16}},
            "shape has 'widths', which this version does not know",
        ),
        ({"num_attention_heads": 17, "num_key_value_heads": 17}, "width 2048 needs heads of an even width"),
    ],
)  # fmt: skip
def test_configs_that_are_not_read(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"at/config.json: .*{message}"):
        shape_of(OLMO_1B | changed, "at/config.json")


@pytest.mark.parametrize(
    ("changed", "theta"),
    [
        ({}, 10_000.0),
        ({"rope_theta": 7}, 7.0),
        ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}, 300.0),
        ({"rope_scaling": None}, 10_000.0),
    ],
)
def test_both_ways_to_name_the_base_of_rotations(changed: dict[str, Any], theta: float) -> None:
    content = {key: value for key, value in (OLMO_1B | changed).items() if value is not None}
    assert shape_of(content, "x").rope_theta == theta


def test_differences_are_those_of_the_function(shape: Shape) -> None:
    here = shape()
    assert differing(shape(vocab_size=70, sequence_length=99, rows_multiple=1, num_kv_heads=4), here) == []
    assert differing(shape(attention_scale=0.5), here) == []  # 1 / sqrt(4)
    assert differing(shape(width=64, norm="rms_norm"), here) == [
        "width: 64 there, 16 here",
        "norm: rms_norm there, layer_norm_plain here",
        "attention_multiplier: 0.25 there, 0.5 here",
    ]


def test_every_field_of_a_shape_is_thought_of(shape: Shape) -> None:
    """A new one either changes the function, and so what fits a class, or is named here."""
    other = {
        "width": 32, "num_layers": 3, "num_heads": 2, "hidden": 40, "tied": True, "rope_theta": 2.0, "norm_eps": 1e-6,
        "num_kv_heads": 2, "norm": "rms_norm", "biases": True, "rope_fraction": 0.5, "rope_interleaved": True,
        "clip_qkv": 1.0, "embedding_scale": 2.0, "logit_scale": 2.0, "attention_scale": 2.0,
        "mup_base_width": 4,
    }  # fmt: skip
    free = {"vocab_size", "sequence_length", "rows_multiple", "init", "init_std"}
    assert {field.name for field in fields(ModelConfig)} == {*other, *free}
    for name, value in other.items():
        assert differing(shape(**{name: value}), shape()), name
    assert differing(shape(init="normal", init_std=0.1), shape()) == []
