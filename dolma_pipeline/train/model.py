"""The decoder of OLMo: pre-norm blocks without biases, LayerNorm without parameters, SwiGLU, rotary positions.

Source: Groeneveld et al. 2024 (arXiv 2402.00838), section 2.1. The model knows nothing of parallelism; `shard.py`
wraps it. Cost: 6 flops a parameter and token for a training step.

Names of axes: B batch, T time, D width, H heads, K width of a head, F hidden, V vocabulary rows.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dolma_pipeline.train.presets import ModelConfig

IGNORED = -100
"""The label of a position that is not scored."""


def norm(x: Tensor, eps: float) -> Tensor:
    """LayerNorm without weight and bias, over the last axis."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def rotations(config: ModelConfig, num_positions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position and pair of channels, float32 [T, K/2] each.

    Made anew in each forward pass (some kilobytes), so that the model has no buffers to shard, cast or save.
    Source: Su et al. 2021 (arXiv 2104.09864), with the pairs (i, i + K/2) as in GPT-NeoX and OLMo.
    """
    half = config.width // config.num_heads // 2
    frequency_K = config.rope_theta ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angle_TK = torch.arange(num_positions, device=device, dtype=torch.float32)[:, None] * frequency_K
    return angle_TK.cos(), angle_TK.sin()


def rotate(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Queries or keys turned by their position; in float32 whatever they come in, as low bits matter at long range."""
    first, second = x_BHTK.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos_TK - second * sin_TK, second * cos_TK + first * sin_TK), dim=-1)
    return turned.to(x_BHTK.dtype)


class Attention(nn.Module):
    """Causal attention over the whole window (documents in one window see each other, as in OLMo)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]; position t sees positions up to t."""
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        q, k = rotate(q, cos_TK, sin_TK), rotate(k, cos_TK, sin_TK)
        y_BHTK = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y_BTD: Tensor = self.out(y_BHTK.transpose(1, 2).flatten(2))
        return y_BTD


class SwiGLU(nn.Module):
    """silu(gate) * up, then down. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D], each position by itself."""
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        y_BTD: Tensor = self.down(F.silu(gate_BTF) * up_BTF)
        return y_BTD


class Block(nn.Module):
    """Attention, then SwiGLU; each reads a normalised stream and adds to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.attention = Attention(config)
        self.mlp = SwiGLU(config)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x_BTD = x_BTD + self.attention(norm(x_BTD, self.eps), cos_TK, sin_TK)
        return x_BTD + self.mlp(norm(x_BTD, self.eps))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The whole model: ids in, logits out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.num_rows, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = None if config.tied else nn.Linear(config.width, config.num_rows, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Ids int64 [B, T] -> logits [B, T, vocab_size], in the dtype of the weights at work.

        Padding rows of the vocabulary get no logits, so probabilities are over real ids only.
        """
        cos, sin = rotations(self.config, tokens_BT.shape[1], tokens_BT.device)
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, cos, sin)
        weight_VD = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(norm(x_BTD, self.config.norm_eps), weight_VD[: self.config.vocab_size])


def nats(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """-ln p(label) at each position, float32 [B, T]; 0 where the label is `IGNORED`."""
    flat = F.cross_entropy(
        logits_BTV.float().flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view_as(labels_BT)


def initial_std(name: str, config: ModelConfig) -> float:
    """Standard deviation of a parameter at the start; OLMo's `mitchell` scheme.

    1/sqrt(inputs) everywhere; what adds to the stream in layer l (from 1) is smaller by sqrt(2 l).
    """
    if name.endswith(("attention.out.weight", "mlp.down.weight")):
        layer = int(name.split(".")[1]) + 1
        num_inputs = config.width if "attention" in name else config.hidden
        return float((2 * num_inputs * layer) ** -0.5)
    return float(config.width**-0.5)


def initial_value(name: str, shape: torch.Size, *, config: ModelConfig, seed: int) -> Tensor:
    """A full parameter at the start, float32 on the CPU: normal, cut at 3 standard deviations.

    Its random numbers depend on the seed and its name only, so any number of processes and any device start from the
    same weights. Filling shards in place does not do that: on a CPU it depends on the number of processes.
    """
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:4], "little"))
    std = initial_std(name, config)
    value = torch.empty(shape, dtype=torch.float32)
    return nn.init.trunc_normal_(value, std=std, a=-3 * std, b=3 * std, generator=generator)
