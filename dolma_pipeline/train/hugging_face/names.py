"""Names of a model's tensors: ours, and those of transformers' OLMo and LLaMA, which are the same.

Where they have several matrices we have one: queries, keys and values one below the other, and gate and up likewise.
"""

from __future__ import annotations

import re

from dolma_pipeline.train.presets import ModelConfig

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


def their_parts(name: str, config: ModelConfig) -> list[tuple[str, int]]:
    """Names of what one of our tensors is made of in theirs, from the top, and the rows of each.

    Args:
        name: of a parameter of `Decoder`, in a shape that has a class (`shape.architecture`).
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
