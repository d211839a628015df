"""A model's shape as `config.json`. Does not load torch.

OLMo's: LayerNorm without parameters, no biases, a bound on queries, keys and values on request. LLaMA's: RMSNorm,
biases on request. muP's multipliers go into the weights (`weights.py`). A shape that neither class has, and any of
another architecture, is written under `model_type: dolma_pipeline`: `read_hf` reads it, transformers does not.
Source: transformers 5.24.0, models/olmo and models/llama.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Shape, spec_of

Form = Literal["hf", "safetensors"]
FORMS: tuple[Form, ...] = ("hf", "safetensors")
"""`hf`: a class of transformers, or an error. `safetensors`: our own names and fields, for any shape."""

Dtype = Literal["fp32", "bf16"]
DTYPES: dict[Dtype, str] = {"fp32": "float32", "bf16": "bfloat16"}
"""Of written weights, as recipes name it -> as torch does."""

OWN = "dolma_pipeline"
CLASSES = {"olmo": "OlmoForCausalLM", "llama": "LlamaForCausalLM"}
"""`model_type` -> its class in transformers."""

OLMO_EPS = 1e-5  # a constant of OlmoLayerNorm
SIZES = {
    "vocab_size": "vocab_size", "sequence_length": "max_position_embeddings", "width": "hidden_size",
    "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads", "hidden": "intermediate_size",
}  # fmt: skip
"""Fields of ours that are whole numbers -> keys of theirs."""


def class_for(config: Shape) -> str:
    """The `model_type` in transformers that computes what a shape does: `olmo` or `llama`.

    Raises:
        UsageError: none does; it names what of the shape none has.
    """
    if isinstance(config, ModelConfig):
        reasons = _reasons(config)
        if not reasons:
            return "llama" if config.norm == "rms_norm" else "olmo"
    else:
        reasons = [f"the architecture {spec_of(config).name}"]
    raise UsageError(
        f"no class of transformers computes this model; none has {' or '.join(reasons)}. "
        "--format safetensors writes it under our own names, which `train.init_from` reads."
    )


def _reasons(config: ModelConfig) -> list[str]:
    """What of a decoder's shape the class that is nearest does not have."""
    found = ["LayerNorm with weight and bias"] if config.norm == "layer_norm" else []
    if config.rope_fraction != 1:
        found.append(f"positions that turn {config.rope_fraction:g} of a head")
    if config.norm == "rms_norm" and config.clip_qkv is not None:
        found.append("RMSNorm with clip_qkv")
    if config.norm != "rms_norm" and config.biases:
        found.append("LayerNorm with biases of matrices")
    if config.norm == "layer_norm_plain" and config.norm_eps != OLMO_EPS:
        found.append(f"LayerNorm without parameters with norm_eps {config.norm_eps:g} (OLMo's is {OLMO_EPS:g})")
    if config.clip_qkv is not None and query_scale(config) != 1:
        found.append("clip_qkv with scaled attention: a scale cannot go into the weights of queries that are cut")
    return found


def query_scale(config: ModelConfig) -> float:
    """What attention multiplies products by, over the 1/sqrt(head width) of transformers."""
    default = config.head_width**-0.5
    return 1.0 if config.attention_multiplier == default else config.attention_multiplier / default


def is_tied_there(config: ModelConfig) -> bool:
    """Whether embedding and output stay one matrix: not where muP scales them, each by a number of its own."""
    return config.tied and config.embedding_scale == 1 and config.logit_multiplier == 1


def num_parameters_there(config: Shape, *, form: Form) -> int:
    """Parameters that are written: without padding rows, and embedding and output apart where they have to be."""
    if not isinstance(config, ModelConfig):
        return config.num_parameters
    tied = config.tied and (form == "safetensors" or is_tied_there(config))
    return replace(config, rows_multiple=1, tied=tied).num_parameters


def config_json(config: Shape, *, form: Form, eos_id: int, dtype: str) -> dict[str, Any]:
    """What `config.json` holds.

    Args:
        eos_id: the id that ends documents. dtype: of the weights, as torch names it: float32, bfloat16.

    Raises:
        UsageError: `hf` of a shape that no class has.
    """
    common = {"bos_token_id": None, "eos_token_id": eos_id, "pad_token_id": None, "torch_dtype": dtype}
    if form == "safetensors":
        shape = asdict(config)
        return {"model_type": OWN, "architecture": spec_of(config).name, "shape": shape, **common}
    name = class_for(config)
    assert isinstance(config, ModelConfig)
    own: dict[str, Any] = {"clip_qkv": config.clip_qkv}
    if name == "llama":
        own = {"rms_norm_eps": config.norm_eps, "mlp_bias": config.biases}
    return {
        "architectures": [CLASSES[name]],
        "model_type": name,
        **{theirs: getattr(config, ours) for ours, theirs in SIZES.items()},
        "num_key_value_heads": config.num_key_heads,
        "hidden_act": "silu",
        "rope_theta": config.rope_theta,
        "attention_bias": config.biases,
        "attention_dropout": 0.0,
        "tie_word_embeddings": is_tied_there(config),
        **own,
        **common,
    }
