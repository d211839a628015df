"""The shape that a `config.json` tells of, and how two shapes differ. Does not load torch.

Files of transformers 4 have `rope_theta` at the top, those of 5 in `rope_parameters`; both are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dolma_pipeline.errors import DataError, UnknownNameError, UsageError
from dolma_pipeline.train.hugging_face.shape import CLASSES, OLMO_EPS, OWN, SIZES
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Shape, spec_named, spec_of

_FUNCTION = (
    "width", "num_layers", "num_heads", "num_key_heads", "hidden", "tied", "rope_theta", "norm", "norm_eps", "biases",
    "rope_fraction", "rope_interleaved", "clip_qkv", "embedding_scale", "logit_multiplier", "attention_multiplier",
)  # fmt: skip
"""What of a decoder's shape decides what is computed from ids, and from which tensors."""
_FROM_DATA = ("vocab_size", "sequence_length")
_ROTARY = ("rope_scaling", "rope_parameters")


def differing(there: Shape, here: Shape) -> list[str]:
    """What of two shapes makes them other functions, or other tensors: `width: 64 there, 32 here`.

    The number of ids and of a decoder's rows, the length of sequences, and first weights may differ.
    """
    if type(there) is not type(here):
        return [f"architecture: {spec_of(there).name} there, {spec_of(here).name} here"]
    all_fields = [name for name in there.__dataclass_fields__ if name not in _FROM_DATA]
    names = _FUNCTION if isinstance(there, ModelConfig) else all_fields
    pairs = {name: (getattr(there, name), getattr(here, name)) for name in names}
    return [f"{name}: {a} there, {b} here" for name, (a, b) in pairs.items() if a != b]


def shape_of(found: Mapping[str, Any], place: str) -> Shape:
    """The shape that a `config.json` tells of.

    Args:
        found: its content. place: its path, for errors.

    Raises:
        DataError: another model, a key that is missing, or something that no architecture here computes.
        UnknownNameError: an architecture of our own form that no module here declares.
    """
    name = found.get("model_type")
    if name not in (*CLASSES, OWN):
        known = ", ".join((*CLASSES, OWN))
        raise DataError(f"{place}: model_type is {name!r}; the models that can be read are {known}.")
    try:
        return _of_ours(found, place) if name == OWN else _of_theirs(found, place, name)
    except KeyError as error:
        raise DataError(f"{place}: has no {error.args[0]!r}, which a model of {name} needs.") from None
    except UnknownNameError:
        raise
    except UsageError as error:
        raise DataError(f"{place}: {error}") from None


def _of_ours(found: Mapping[str, Any], place: str) -> Shape:
    make, given = spec_named(found["architecture"]).config, found["shape"]
    names = [field.name for field in fields(make)]  # type: ignore[arg-type] # a shape is a dataclass
    if unknown := sorted(given.keys() - {*names}):
        raise DataError(f"{place}: shape has {unknown[0]!r}, which this version does not know.")
    return make(**{name: given[name] for name in names})


def _of_theirs(found: Mapping[str, Any], place: str, name: str) -> ModelConfig:
    sizes = {ours: _whole(found, key, place) for ours, key in SIZES.items()}
    key = "num_key_value_heads"
    num_kv_heads = sizes["num_heads"] if found.get(key) is None else _whole(found, key, place)
    biases = bool(found.get("attention_bias", False))
    expected: dict[str, object] = {
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "head_dim": sizes["width"] // sizes["num_heads"],
    }
    if name == "llama":
        expected |= {"mlp_bias": biases, "pretraining_tp": 1, "clip_qkv": None}
    elif biases:
        raise DataError(f"{place}: attention_bias is true; OLMo's models that can be read have no biases.")
    for key, value in expected.items():
        if found.get(key) is not None and found[key] != value:
            raise DataError(f"{place}: {key} is {found[key]!r}; models that can be read have {value!r}.")
    return ModelConfig(
        **sizes,  # type: ignore[arg-type] # all are whole numbers
        tied=bool(found.get("tie_word_embeddings", False)),
        rope_theta=_rope_theta(found, place),
        norm_eps=_number(found, "rms_norm_eps", place) if name == "llama" else OLMO_EPS,
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
