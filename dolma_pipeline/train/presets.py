"""Shapes of models by name. Plain arithmetic; does not load torch.

Sources: OLMo-1B and 7B are Groeneveld et al. 2024 (arXiv 2402.00838), table 1, and their released configs. 20m, 60m
and 150m are the widths and depths of OLMo's own small configs, here with tied embeddings, so that each has about the
size of its name at OLMo's vocabulary of 50,280. `tiny` is made for a CPU: 1.9M parameters at a vocabulary of 4,096.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dolma_pipeline.errors import UnknownNameError, UsageError

ROWS_MULTIPLE = 128
"""Embedding rows are padded to a multiple of this, as OLMo does (50,280 -> 50,304): matrices that divide well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a decoder.

    width: of the residual stream. hidden: of the SwiGLU layer, one of its two halves (OLMo's configs name the sum).
    tied: the output matrix is the embedding. sequence_length: positions that the model is trained on.
    num_kv_heads: of keys and values, each shared by as many heads of queries; None: one a head of queries.
    norm: LayerNorm without weight and bias, with both, or RMSNorm with a weight. biases: of all matrices but the
    output's. rope_fraction: of a head's channels turn with the position. rope_interleaved: pairs are neighbours.
    clip_qkv: bound of queries, keys and values, either way. rows_multiple: the embedding's rows are padded to one.
    embedding_scale, logit_scale: multiply what comes out of the embedding, and logits (muP). attention_scale:
    multiplies products of queries and keys; None: 1 / sqrt(width of a head).
    """

    vocab_size: int
    sequence_length: int
    width: int
    num_layers: int
    num_heads: int
    hidden: int
    tied: bool
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    num_kv_heads: int | None = None
    norm: Literal["layer_norm_plain", "layer_norm", "rms_norm"] = "layer_norm_plain"
    biases: bool = False
    rope_fraction: float = 1.0
    rope_interleaved: bool = False
    clip_qkv: float | None = None
    rows_multiple: int = ROWS_MULTIPLE
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    attention_scale: float | None = None

    def __post_init__(self) -> None:
        if self.width % self.num_heads or self.width // self.num_heads % 2:
            raise UsageError(f"width {self.width} needs heads of an even width; it has {self.num_heads} heads.")

    @property
    def num_rows(self) -> int:
        """Rows of the embedding: the vocabulary, padded."""
        return -(-self.vocab_size // self.rows_multiple) * self.rows_multiple

    @property
    def head_width(self) -> int:
        """Channels of a head."""
        return self.width // self.num_heads

    @property
    def num_key_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    @property
    def num_rotated(self) -> int:
        """Channels of a head that turn with the position."""
        return round(self.head_width * self.rope_fraction)

    @property
    def num_parameters(self) -> int:
        """All parameters: of embedding, output, and per layer 4 matrices of attention, 3 of SwiGLU, biases, norms."""
        key_width = self.num_key_heads * self.head_width
        layer = self.width * (2 * self.width + 2 * key_width) + 3 * self.width * self.hidden
        if self.biases:
            layer += (self.width + 2 * key_width) + self.width + 2 * self.hidden + self.width
        norm = {"layer_norm_plain": 0, "layer_norm": 2, "rms_norm": 1}[self.norm] * self.width
        ends = (1 if self.tied else 2) * self.num_rows * self.width
        return self.num_layers * (layer + 2 * norm) + norm + ends


PRESETS: Mapping[str, Mapping[str, int | bool]] = {
    "tiny": {"width": 128, "num_layers": 4, "num_heads": 4, "hidden": 384, "tied": False},
    "20m": {"width": 256, "num_layers": 8, "num_heads": 8, "hidden": 1024, "tied": True},
    "60m": {"width": 384, "num_layers": 16, "num_heads": 12, "hidden": 1536, "tied": True},
    "150m": {"width": 768, "num_layers": 12, "num_heads": 12, "hidden": 3072, "tied": True},
    "olmo-1b": {"width": 2048, "num_layers": 16, "num_heads": 16, "hidden": 8192, "tied": True},
    "olmo-7b": {"width": 4096, "num_layers": 32, "num_heads": 32, "hidden": 11008, "tied": False},
}
"""Name -> the fields of `ModelConfig` that do not come from the data."""


def model_config(name: str, *, vocab_size: int, sequence_length: int) -> ModelConfig:
    """The shape that `name` stands for, over a vocabulary and a window.

    Raises:
        UnknownNameError: no preset of that name; it says which exist.
    """
    if name not in PRESETS:
        raise UnknownNameError("model", name, PRESETS, hint="It is set by train.model.")
    return ModelConfig(vocab_size=vocab_size, sequence_length=sequence_length, **PRESETS[name])  # type: ignore[arg-type]
