"""The decoder: pre-norm blocks of causal attention and SwiGLU, rotary positions; one file for all named shapes.

What differs between OLMo, LLaMA (Amber) and CrystalCoder is a field of `ModelConfig`: norms with or without
parameters, biases, how much of a head turns with the position and in which pairs, fewer heads of keys, a bound on
queries, keys and values, one matrix for embedding and output, muP's multipliers. The model knows nothing of
parallelism; `shard.py` wraps it. Cost: 6 flops a parameter and token for a training step.

Names of axes: B batch, T time, S time of what is attended to, D width, H heads, K width of a head, F hidden,
V vocabulary rows, N positions that logits are asked for.
Sources: Groeneveld et al. 2024 (arXiv 2402.00838), section 2.1; Touvron et al. 2023 (arXiv 2302.13971), section 2.2;
Liu et al. 2023 (arXiv 2312.06550), sections 3 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dolma_pipeline.train.language_model import Each, LanguageModel, read_out
from dolma_pipeline.train.presets import ModelConfig

IGNORED = -100
"""The label of a position that is not scored."""


class Norm(nn.Module):
    """Over the last axis: LayerNorm with or without weight and bias, or RMSNorm (arXiv 1910.07467) with a weight."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind, self.eps = config.norm, config.norm_eps
        shape = (config.width,)
        self.weight = None if self.kind == "layer_norm_plain" else nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if self.kind == "layer_norm" else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        if self.kind == "rms_norm":
            return F.rms_norm(x_BTD, x_BTD.shape[-1:], self.weight, self.eps)
        return F.layer_norm(x_BTD, x_BTD.shape[-1:], self.weight, self.bias, self.eps)


def rotations(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position and pair of channels: float32 [T, R/2] for int64 [T], [B, 1, T, R/2] for [B, T].

    R channels of a head turn (`rope_fraction` of them). Made anew in each forward pass (some kilobytes), so that the
    model has no buffers to shard, cast or save. Source: Su et al. 2021 (arXiv 2104.09864).
    """
    half = config.num_rotated // 2
    frequency = config.rope_theta ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angle = positions.to(torch.float32)[..., None] * frequency
    if positions.ndim == 2:
        angle = angle[:, None]
    return angle.cos(), angle.sin()


def rotate(x_BHTK: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool = False) -> Tensor:
    """Queries or keys turned by their position; in float32 whatever they come in, as low bits matter at long range.

    Pairs are (i, i + R/2) as in GPT-NeoX and OLMo, or (2i, 2i + 1) where `interleaved`, as in GPT-J and CrystalCoder.
    Channels beyond the R that cos and sin are for stay as they are.
    """
    num_rotated = 2 * cos.shape[-1]
    turning, rest = x_BHTK[..., :num_rotated].float(), x_BHTK[..., num_rotated:]
    if interleaved:
        first, second = turning[..., 0::2], turning[..., 1::2]
    else:
        first, second = turning.chunk(2, dim=-1)
    halves = (first * cos - second * sin, second * cos + first * sin)
    turned = torch.stack(halves, dim=-1).flatten(-2) if interleaved else torch.cat(halves, dim=-1)
    turned = turned.to(x_BHTK.dtype)
    return turned if rest.shape[-1] == 0 else torch.cat((turned, rest), dim=-1)


class KeysValues(NamedTuple):
    """Of one block, of the tokens that were read: each [B, heads of keys, S, K], keys already turned."""

    keys: Tensor
    values: Tensor


class Cache:
    """Keys and values of what the model has read, block by block; `forward` reads it and appends to it."""

    def __init__(self) -> None:
        self.blocks: dict[int, KeysValues] = {}

    def extended(self, block: int, keys: Tensor, values: Tensor) -> KeysValues:
        """All keys and values of a block, these last; kept for the next call."""
        if block in self.blocks:
            before = self.blocks[block]
            keys, values = torch.cat((before.keys, keys), dim=2), torch.cat((before.values, values), dim=2)
        self.blocks[block] = KeysValues(keys, values)
        return self.blocks[block]


class Reading(NamedTuple):
    """How a batch is read, the same for all blocks.

    cos, sin: of its positions. mask: [B, 1, T, S], added to products of queries and keys: 0 where a position may look,
    else -inf (a bool would be turned into that in each block anew); None is causal from the first.
    cache: what was read before.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None
    cache: Cache | None


class Attention(nn.Module):
    """Causal attention over the whole window (documents in one window see each other, as in OLMo)."""

    def __init__(self, config: ModelConfig, block: int) -> None:
        super().__init__()
        self.config, self.block = config, block
        heads = config.num_heads + 2 * config.num_key_heads
        self.qkv = nn.Linear(config.width, heads * config.head_width, bias=config.biases)
        self.out = nn.Linear(config.width, config.width, bias=config.biases)

    def forward(self, x_BTD: Tensor, reading: Reading, at: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D], or [N, D] of the places `at`; t sees positions up to t, or what the mask lets it."""
        config, (cos, sin, mask, cache) = self.config, reading
        qkv = self.qkv(x_BTD)
        if config.clip_qkv is not None:
            qkv = qkv.clamp(-config.clip_qkv, config.clip_qkv)
        key_width = config.num_key_heads * config.head_width
        q, k, v = (
            part.unflatten(-1, (-1, config.head_width)).transpose(1, 2)
            for part in qkv.split((config.width, key_width, key_width), dim=-1)
        )
        q = rotate(q, cos, sin, interleaved=config.rope_interleaved)
        k = rotate(k, cos, sin, interleaved=config.rope_interleaved)
        if cache is not None:
            k, v = cache.extended(self.block, k, v)
        y_BHTK = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=config.attention_multiplier,
            enable_gqa=config.num_key_heads != config.num_heads,
        )
        y: Tensor = self.out(_places(y_BHTK.transpose(1, 2).flatten(2), at))
        return y


class SwiGLU(nn.Module):
    """silu(gate) * up, then down. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=config.biases)
        self.down = nn.Linear(config.hidden, config.width, bias=config.biases)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D], each position by itself."""
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        y_BTD: Tensor = self.down(F.silu(gate_BTF) * up_BTF)
        return y_BTD


class Block(nn.Module):
    """Attention, then SwiGLU; each reads a normalised stream and adds to it."""

    def __init__(self, config: ModelConfig, block: int) -> None:
        super().__init__()
        self.attention_norm = Norm(config)
        self.attention = Attention(config, block)
        self.mlp_norm = Norm(config)
        self.mlp = SwiGLU(config)

    def forward(self, x_BTD: Tensor, reading: Reading, at: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D], or [N, D] of the places `at`, which is cheaper: all else is for keys and values."""
        x = _places(x_BTD, at) + self.attention(self.attention_norm(x_BTD), reading, at)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


def _places(x_BTD: Tensor, at: Tensor | None) -> Tensor:
    return x_BTD if at is None else x_BTD.flatten(0, 1)[at]


class Decoder(LanguageModel):
    """The whole model: ids in, logits out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config: ModelConfig = config
        self.embedding = nn.Embedding(config.num_rows, config.width)
        self.blocks = nn.ModuleList(Block(config, number) for number in range(config.num_layers))
        self.final_norm = Norm(config)
        self.head = None if config.tied else nn.Linear(config.width, config.num_rows, bias=False)

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        positions_BT: Tensor | None = None,
        mask_BTS: Tensor | None = None,
        cache: Cache | None = None,
        at: Tensor | None = None,
        each: Each | None = None,
    ) -> Tensor:
        """Ids int64 [B, T] -> logits [B, T, vocab_size], in the dtype of the weights at work.

        Padding rows of the vocabulary get no logits, so probabilities are over real ids only.

        Args:
            positions_BT: int64; 0 to T - 1 where it is left out.
            mask_BTS: bool, true where a token may look, over what the cache holds and then these tokens; causal where
                it is left out, which needs an empty cache.
            cache: gives the keys and values of tokens read before, and takes those of these.
            at: int64 [N], places in the flattened [B, T]; only their logits are computed, [N, vocab_size].
            each: only with `at`: gives what this makes of their logits, some at a time.
        """
        config, last = self.config, len(self.blocks) - 1
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.embedding(tokens_BT)
        mask = None
        if mask_BTS is not None:
            mask = x_BTD.new_zeros(mask_BTS.shape).masked_fill_(~mask_BTS, -torch.inf)[:, None]
        reading = Reading(*rotations(config, positions_BT), mask, cache)
        if config.embedding_scale != 1:
            x_BTD = x_BTD * config.embedding_scale
        for number, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, reading, at if number == last else None)
        return read_out(self.final_norm(x_BTD), self._logits, each)

    def _logits(self, x: Tensor) -> Tensor:
        weight_VD = self.embedding.weight if self.head is None else self.head.weight
        logits = F.linear(x, weight_VD[: self.config.vocab_size])
        return logits if self.config.logit_multiplier == 1 else logits * self.config.logit_multiplier


def nats(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """-ln p(label) at each position, float32 [B, T]; 0 where the label is `IGNORED`."""
    flat = F.cross_entropy(
        logits_BTV.float().flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view_as(labels_BT)
