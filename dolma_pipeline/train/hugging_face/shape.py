"""A model's shape as `config.json`, and back. Does not load torch.

OLMo's: LayerNorm without parameters, no biases, a bound on queries, keys and values on request. LLaMA's: RMSNorm,
biases on request. muP's multipliers go into the weights (`weights.py`). A shape that neither class has is written
under `model_type: dolma_pipeline`, with all fields of `ModelConfig`: `read_hf` reads it, transformers does not.
Source: transformers 5.24.0, models/olmo and models/llama; config files of 4.x have `rope_theta` at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Literal

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.train.presets import ModelConfig

Form = Literal["hf", "safetensors"]
FORMS: tuple[Form, ...] = ("hf", "safetensors")
"""`hf`: a class of transformers, or an error. `safetensors`: our own names and fields, for any shape."""

Dtype = Literal["fp32", "bf16"]
DTYPES: dict[Dtype, str] = {"fp32": "float32", "bf16": "bfloat16"}
"""Of written weights, as recipes name it -> as torch does."""

OWN = "dolma_pipeline"
CLASSES = {"olmo": "OlmoForCausalLM", "llama": "LlamaForCausalLM", OWN: "Decoder"}
"""`model_type` -> the class that it stands for; the last is `dolma_pipeline.train.model.Decoder`."""

_FUNCTION = (
    "width", "num_layers", "num_heads", "num_kv_heads", "hidden", "tied", "rope_theta", "norm", "norm_eps", "biases",
    "rope_fraction", "rope_interleaved", "clip_qkv", "embedding_scale", "logit_scale", "attention_scale",
)  # fmt: skip
"""Fields of `ModelConfig` that decide what is computed from ids, and from which tensors."""
_OLMO_EPS = 1e-5  # a constant of OlmoLayerNorm
_SIZES = {
    "vocab_size": "vocab_size", "sequence_length": "max_position_embeddings", "width": "hidden_size",
    "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads", "hidden": "intermediate_size",
}  # fmt: skip
"""Fields of ours that are whole numbers -> keys of theirs."""
_ROTARY = ("rope_scaling", "rope_parameters")


def architecture(config: ModelConfig) -> str:
    """The `model_type` in transformers that computes what a shape does: `olmo` or `llama`.

    Raises:
        UsageError: none does; it names what of the shape none has.
    """
    name = "llama" if config.norm == "rms_norm" else "olmo"
    reasons = [
        *(["LayerNorm with weight and bias"] if config.norm == "layer_norm" else []),
        *([f"positions that turn {config.rope_fraction:g} of a head"] if config.rope_fraction != 1 else []),
    ]
    if name == "llama" and config.clip_qkv is not None:
        reasons.append("RMSNorm with clip_qkv")
    if name == "olmo" and config.biases:
        reasons.append("LayerNorm with biases of matrices")
    if config.norm == "layer_norm_plain" and config.norm_eps != _OLMO_EPS:
        reasons.append(f"LayerNorm without parameters with norm_eps {config.norm_eps:g} (OLMo's is {_OLMO_EPS:g})")
    if config.clip_qkv is not None and config.attention_scale is not None:
        reasons.append("clip_qkv with an attention_scale, which cannot go into the weights of queries that are cut")
    if reasons:
        raise UsageError(
            f"no class of transformers computes this model; none has {' or '.join(reasons)}. "
            "--format safetensors writes it under our own names, which `train.init_from` reads."
        )
    return name


def differing(there: ModelConfig, here: ModelConfig) -> list[str]:
    """What of two shapes makes them other functions, or other tensors: `width: 64 there, 32 here`.

    The number of ids and of rows, and the length of sequences, may differ.
    """
    pairs = {name: (getattr(there, name), getattr(here, name)) for name in _FUNCTION}
    pairs["num_kv_heads"] = there.num_key_heads, here.num_key_heads
    pairs["attention_scale"] = _attention_scale(there), _attention_scale(here)
    return [f"{name}: {a} there, {b} here" for name, (a, b) in pairs.items() if a != b]


def is_tied_there(config: ModelConfig) -> bool:
    """Whether embedding and output stay one matrix: not where muP scales them, each by a number of its own."""
    return config.tied and config.embedding_scale == 1 and config.logit_scale == 1


def config_json(config: ModelConfig, *, form: Form, eos_id: int, dtype: str) -> dict[str, Any]:
    """What `config.json` holds.

    Args:
        eos_id: the id that ends documents. dtype: of the weights, as torch names it: float32, bfloat16.

    Raises:
        UsageError: `hf` of a shape that no class has.
    """
    name = OWN if form == "safetensors" else architecture(config)
    ends = {"bos_token_id": None, "eos_token_id": eos_id, "pad_token_id": None, "torch_dtype": dtype}
    top = {"architectures": [CLASSES[name]], "model_type": name}
    if name == OWN:
        return {**top, **asdict(config), **ends}
    own: dict[str, Any] = {"clip_qkv": config.clip_qkv}
    if name == "llama":
        own = {"rms_norm_eps": config.norm_eps, "mlp_bias": config.biases}
    return {
        **top,
        **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
        "num_key_value_heads": config.num_key_heads,
        "hidden_act": "silu",
        "rope_theta": config.rope_theta,
        "attention_bias": config.biases,
        "attention_dropout": 0.0,
        "tie_word_embeddings": is_tied_there(config),
        **own,
        **ends,
    }


def model_config_of(found: Mapping[str, Any], place: str) -> ModelConfig:
    """The shape that a `config.json` tells of.

    Args:
        found: its content. place: its path, for errors.

    Raises:
        DataError: another model, a key that is missing, or something that `Decoder` does not compute.
    """
    name = found.get("model_type")
    if not isinstance(name, str) or name not in CLASSES:
        raise DataError(f"{place}: model_type is {name!r}; the models that can be read are {', '.join(CLASSES)}.")
    try:
        if name == OWN:
            return ModelConfig(**{field.name: found[field.name] for field in fields(ModelConfig)})
        return _of_theirs(found, place, name)
    except KeyError as error:
        raise DataError(f"{place}: has no {error.args[0]!r}, which a model of {name} needs.") from None
    except UsageError as error:
        raise DataError(f"{place}: {error}") from None


def _of_theirs(found: Mapping[str, Any], place: str, name: str) -> ModelConfig:
    sizes = {ours: _whole(found, key, place) for ours, key in _SIZES.items()}
    num_kv_heads = found.get("num_key_value_heads")
    if num_kv_heads is not None and sizes["num_heads"] % _whole(found, "num_key_value_heads", place):
        raise DataError(
            f"{place}: num_key_value_heads is {num_kv_heads}, which does not divide num_attention_heads "
            f"{sizes['num_heads']}."
        )
    biases = bool(found.get("attention_bias", False))
    expected: dict[str, object] = {
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "head_dim": sizes["width"] // sizes["num_heads"],
    }
    if name == "llama":
        expected |= {"mlp_bias": biases, "pretraining_tp": 1, "clip_qkv": None}
    elif biases:
        raise DataError(
            f"{place}: attention_bias is true; models that can be read have no biases where OLMo's norms are."
        )
    for key, value in expected.items():
        if found.get(key) is not None and found[key] != value:
            raise DataError(f"{place}: {key} is {found[key]!r}; models that can be read have {value!r}.")
    return ModelConfig(
        **sizes,  # type: ignore[arg-type] # all are whole numbers
        tied=bool(found.get("tie_word_embeddings", False)),
        rope_theta=_rope_theta(found, place),
        norm_eps=_number(found, "rms_norm_eps", place) if name == "llama" else _OLMO_EPS,
        num_kv_heads=None if num_kv_heads == sizes["num_heads"] else num_kv_heads,
        norm="rms_norm" if name == "llama" else "layer_norm_plain",
        biases=biases,
        clip_qkv=None if found.get("clip_qkv") is None else _number(found, "clip_qkv", place),
    )


def _whole(found: Mapping[str, Any], key: str, place: str) -> int:
    value = found[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{place}: {key} is {value!r}; a whole number above 0 is needed.")
    return value


def _number(found: Mapping[str, Any], key: str, place: str) -> float:
    value = found[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise DataError(f"{place}: {key} is {value!r}; a number above 0 is needed.")
    return float(value)


def _attention_scale(config: ModelConfig) -> float:
    return config.head_width**-0.5 if config.attention_scale is None else config.attention_scale


def _rope_theta(found: Mapping[str, Any], place: str) -> float:
    """At the top in transformers 4, in `rope_parameters` in 5; where neither has it, its default."""
    for key in _ROTARY:
        settings = found.get(key) or {}
        kind = settings.get("rope_type", settings.get("type", "default"))
        factor = settings.get("partial_rotary_factor", 1.0)
        if kind != "default" or factor != 1:
            raise DataError(
                f"{place}: {key} is {settings}; models that can be read turn whole heads, with positions as they are "
                "(rope_type default)."
            )
        if "rope_theta" in settings:
            return _number(settings, "rope_theta", f"{place}: {key}")
    return _number({"rope_theta": 10_000.0, **found}, "rope_theta", place)
