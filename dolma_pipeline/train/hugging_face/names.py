"""Names of a model's tensors: ours, and those of transformers' OLMo and LLaMA, which are the same.

Where they have several matrices we have one: queries, keys and values one below the other, and gate and up likewise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Shape

EMBEDDING, HEAD = "embedding.weight", "head.weight"
THEIR_EMBEDDING, THEIR_HEAD = "model.embed_tokens.weight", "lm_head.weight"
QUERIES = "self_attn.q_proj"
KEYS = "self_attn.k_proj"

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_OUTSIDE = {
    EMBEDDING: THEIR_EMBEDDING,
    "final_norm.weight": "model.norm.weight",
    HEAD: THEIR_HEAD,
}


Parts = list[tuple[str, int]]
"""Tensors of files that one of ours is made of, from the top, and the rows that are taken of each."""


def own_part(name: str, shape: Sequence[int], config: Shape) -> Parts:
    """One of our tensors in a file of ours: itself, without the padding rows of a decoder's vocabulary.

    Args:
        name, shape: of a parameter of a model of this shape.
    """
    is_padded = isinstance(config, ModelConfig) and name in (EMBEDDING, HEAD)
    return [(name, config.vocab_size if is_padded else shape[0] if shape else 1)]


def their_parts(name: str, config: ModelConfig) -> Parts:
    """What one of our tensors is made of in theirs.

    Args:
        name: of a parameter of `Decoder`, in a shape that has a class (`shape.class_for`).
    """
    if name in _OUTSIDE:
        return [(_OUTSIDE[name], config.width if name == "final_norm.weight" else config.vocab_size)]
    found = _BLOCK.fullmatch(name)
    assert found is not None, name
    layer, ours, kind = found.groups()
    key_width = config.num_key_heads * config.head_width
    parts = {
        "attention_norm": [("input_layernorm", config.width)],
        "attention.qkv": [(QUERIES, config.width), (KEYS, key_width), ("self_attn.v_proj", key_width)],
        "attention.out": [("self_attn.o_proj", config.width)],
        "mlp_norm": [("post_attention_layernorm", config.width)],
        "mlp.gate_up": [("mlp.gate_proj", config.hidden), ("mlp.up_proj", config.hidden)],
        "mlp.down": [("mlp.down_proj", config.width)],
    }[ours]
    return [(f"model.layers.{layer}.{theirs}.{kind}", rows) for theirs, rows in parts]
