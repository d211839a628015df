"""Shapes of the decoder, by field and by name. Plain arithmetic; does not load torch.

muP (maximal update parametrization): with `mup_base_width` a shape of another width trains best at the rate and spread
that are best at the base width. It is multipliers of m = width / base width: hidden matrices learn at 1/m of the rate
and start 1/sqrt(m) as wide, logits are divided by m, products of queries and keys by the width of a head and not by its
root, and the embedding starts the same at every width.
Sources of muP: Yang et al. 2022 (arXiv 2203.03466), table 8 and appendix B; as Liu et al. 2023 (arXiv 2312.06550) use
it for CrystalCoder, whose parameters are public (LLM360/crystalcoder-train, pretrain/params).

Sources of presets. OLMo-1B, 7B and 65B: Groeneveld et al. 2024 (arXiv 2402.00838), table 1, and the released configs;
of the 65B, whose weights were never released, the SwiGLU is the 7B's at twice the width. Amber: Liu et al. 2023 (arXiv
2312.06550), section 3 (LLaMA-7B's shape). CrystalCoder: the same, section 4, and its released parameters. 20m, 60m and
150m are the widths and depths of OLMo's own small configs, here with tied embeddings, so that each has about the size
of its name at OLMo's vocabulary of 50,280. `tiny` is made for a CPU, with 1.9M parameters at a vocabulary of 4,096;
`1m` and `4m` are proxies for comparing mixtures, of about the size of their names there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from dolma_pipeline.config.keys import Key
from dolma_pipeline.errors import UsageError

ROWS_MULTIPLE = 128
"""Embedding rows are padded to a multiple of this, as OLMo does (50,280 -> 50,304): matrices that divide well."""

NORMAL_STD = 0.02
"""Of first weights where a shape says none: LLaMA's, and so Amber's (transformers' `initializer_range`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a decoder.

    vocab_size: ids of the tokenizer. sequence_length: positions that it is trained on. The others are keys.

    Raises:
        UsageError: fields that do not fit each other, or one that would have no effect.
    """

    vocab_size: int
    sequence_length: int
    width: Annotated[int, Key(purpose="of the residual stream", at_least=2)]
    num_layers: Annotated[int, Key(purpose="blocks of attention and SwiGLU", at_least=1)]
    num_heads: Annotated[int, Key(purpose="of queries", at_least=1)]
    hidden: Annotated[int, Key(purpose="width of one half of SwiGLU; OLMo's configs name the sum", at_least=1)]
    tied: Annotated[bool, Key(purpose="the output matrix is the embedding")]
    rope_theta: Annotated[float, Key(purpose="base of the wavelengths of rotary positions", above=1)] = 10_000.0
    norm_eps: Annotated[float, Key(purpose="added to the variance", above=0)] = 1e-5
    num_kv_heads: Annotated[
        int | None, Key(purpose="of keys and values, each for as many of queries", at_least=1, derived="num_heads")
    ] = None
    norm: Annotated[
        Literal["layer_norm_plain", "layer_norm", "rms_norm"],
        Key(purpose="LayerNorm without weight and bias, with both, or RMSNorm with a weight"),
    ] = "layer_norm_plain"
    biases: Annotated[bool, Key(purpose="of all matrices but the output's")] = False
    rope_fraction: Annotated[float, Key(purpose="of a head's channels turn with the position", above=0, at_most=1)] = (
        1.0
    )
    rope_interleaved: Annotated[bool, Key(purpose="pairs that turn are neighbours, not half a head apart")] = False
    clip_qkv: Annotated[float | None, Key(purpose="bound of queries, keys and values, either way", above=0)] = None
    rows_multiple: Annotated[int, Key(purpose="the embedding's rows are padded to one", at_least=1)] = ROWS_MULTIPLE
    embedding_scale: Annotated[float, Key(purpose="multiplies what comes out of the embedding", above=0)] = 1.0
    logit_scale: Annotated[float, Key(purpose="multiplies logits; muP divides by m besides", above=0)] = 1.0
    attention_scale: Annotated[
        float | None,
        Key(purpose="multiplies queries times keys", above=0, derived="1/sqrt(head width); muP: 1/head width"),
    ] = None
    init: Annotated[
        Literal["mitchell", "normal", "scaled_normal"],
        Key(purpose="first weights: OLMo's, LLaMA's, or narrower the deeper (GPT-2's, CrystalCoder's)"),
    ] = "mitchell"
    init_std: Annotated[
        float | None, Key(purpose="of first weights, unless mitchell", above=0, derived=str(NORMAL_STD))
    ] = None
    mup_base_width: Annotated[
        int | None, Key(purpose="muP: the width at which rate and spread were found; none: no muP", at_least=1)
    ] = None

    def __post_init__(self) -> None:
        if self.width % self.num_heads or self.head_width % 2:
            raise UsageError(f"width {self.width} needs heads of an even width; it has {self.num_heads} heads.")
        if self.num_heads % self.num_key_heads:
            raise UsageError(
                f"{self.num_heads} heads of queries cannot share {self.num_key_heads} of keys and values evenly; "
                "num_kv_heads must divide num_heads."
            )
        turned = self.head_width * self.rope_fraction
        if turned != round(turned) or round(turned) % 2:
            raise UsageError(
                f"rope_fraction {self.rope_fraction} of {self.head_width} channels of a head is {turned:g}; channels "
                "turn in pairs, so it must be an even number."
            )
        if self.init_std is not None and self.init == "mitchell":
            raise UsageError("init_std has no effect with init: mitchell, which follows from the widths; take it out.")

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
    def width_ratio(self) -> float:
        """muP's m: the width over the base width; 1 without muP."""
        return 1.0 if self.mup_base_width is None else self.width / self.mup_base_width

    @property
    def logit_multiplier(self) -> float:
        """What logits are multiplied by, all told."""
        return self.logit_scale / self.width_ratio

    @property
    def attention_multiplier(self) -> float:
        """What products of queries and keys are multiplied by."""
        if self.attention_scale is not None:
            return self.attention_scale
        return self.head_width**-0.5 if self.mup_base_width is None else 1 / self.head_width

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

    @property
    def flops_per_token(self) -> float:
        """Of a training step: 6 a parameter but for looking up the embedding, and 12 T a layer's width for attention.

        Counts all T positions as attended to. Source: Chowdhery et al. 2022 (arXiv 2204.02311), appendix B.
        """
        looked_up = 0 if self.tied else self.num_rows * self.width
        attention = 12 * self.num_layers * self.width * self.sequence_length
        return float(6 * (self.num_parameters - looked_up) + attention)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "1m": {"width": 96, "num_layers": 4, "num_heads": 4, "hidden": 384, "tied": True},
    "tiny": {"width": 128, "num_layers": 4, "num_heads": 4, "hidden": 384, "tied": False},
    "4m": {"width": 192, "num_layers": 6, "num_heads": 6, "hidden": 640, "tied": True},
    "20m": {"width": 256, "num_layers": 8, "num_heads": 8, "hidden": 1024, "tied": True},
    "60m": {"width": 384, "num_layers": 16, "num_heads": 12, "hidden": 1536, "tied": True},
    "150m": {"width": 768, "num_layers": 12, "num_heads": 12, "hidden": 3072, "tied": True},
    "olmo-1b": {"width": 2048, "num_layers": 16, "num_heads": 16, "hidden": 8192, "tied": True},
    "olmo-7b": {"width": 4096, "num_layers": 32, "num_heads": 32, "hidden": 11008, "tied": False},
    "olmo-65b": {"width": 8192, "num_layers": 80, "num_heads": 64, "hidden": 22016, "tied": False},
    "amber-7b": {
        "width": 4096,
        "num_layers": 32,
        "num_heads": 32,
        "hidden": 11008,
        "tied": False,
        "norm": "rms_norm",
        "norm_eps": 1e-6,
        "rows_multiple": 1,
        "init": "normal",
        "init_std": 0.02,
    },
    "crystalcoder-7b": {
        "width": 4096,
        "num_layers": 32,
        "num_heads": 32,
        "hidden": 10922,
        "tied": True,
        "norm": "layer_norm",
        "biases": True,
        "rope_fraction": 0.25,
        "rope_interleaved": True,
        "rows_multiple": 1,
        "embedding_scale": 14.6,
        "logit_scale": 2.22,
        "init": "scaled_normal",
        "init_std": 0.073,
        "mup_base_width": 256,
    },
}
"""Name -> the fields of `ModelConfig` that do not come from the data."""

VOCABULARIES: Mapping[str, int] = {
    **dict.fromkeys(PRESETS, 50_280),
    **dict.fromkeys(("1m", "tiny", "4m"), 4_096),
    "amber-7b": 32_000,
    "crystalcoder-7b": 32_032,
}
"""Name -> the entries of the tokenizer that a preset was made for; at them it has the size of its name."""
