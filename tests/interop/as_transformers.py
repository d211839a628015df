"""Our decoder as transformers' OLMo with the same weights: needs both, so it is imported where transformers is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import OlmoConfig, OlmoForCausalLM, PreTrainedTokenizerFast


def as_transformers(model: Any) -> OlmoForCausalLM:
    """A decoder of OLMo's shape."""
    shape = model.config
    config = OlmoConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        max_position_embeddings=shape.sequence_length,
        tie_word_embeddings=shape.tied,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=0,
    )
    # Without the rows that pad the vocabulary, which would have a share of the probabilities.
    weights = {"model.embed_tokens.weight": model.embedding.weight[: shape.vocab_size]}
    weights["lm_head.weight"] = (model.head or model.embedding).weight[: shape.vocab_size]
    for number, block in enumerate(model.blocks):
        query, key, value = block.attention.qkv.weight.chunk(3)
        gate, up = block.mlp.gate_up.weight.chunk(2)
        named = {
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": block.attention.out.weight,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": block.mlp.down.weight,
        }
        weights |= {f"model.layers.{number}.{name}.weight": weight for name, weight in named.items()}
    found = OlmoForCausalLM(config)
    found.load_state_dict(weights)
    return found.eval()


def their_tokenizer(path: Path, *, eos: str) -> PreTrainedTokenizerFast:
    """Of a tokenizer.json; `eos` stands for all special tokens."""
    return PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token=eos, bos_token=eos, pad_token=eos)
