"""The decoder as an architecture: what its parameters are for, and what FSDP shards. Does not load torch.

Sources: mitchell is OLMo's `mitchell` scheme; normal is transformers' LLaMA, of which Amber is one; scaled_normal is
CrystalCoder's, after GPT-2's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dolma_pipeline.train.presets import NORMAL_STD, PRESETS, VOCABULARIES, ModelConfig
from dolma_pipeline.train.spec import Kind, ModelSpec, Role, register_model

if TYPE_CHECKING:
    from torch import nn

    from dolma_pipeline.train.model import Decoder


def role(name: str, config: ModelConfig) -> Role:
    """The role of a decoder's parameter.

    mitchell: 1/sqrt(inputs), cut at 3; what adds to the stream in layer l (from 1) is smaller by sqrt(2 l). normal: the
    same everywhere. scaled_normal: cut at 2; what adds to the stream is smaller by sqrt(2 layers). Under muP embedding
    and output start as at the base width, and hidden matrices by sqrt(m) narrower (which 1/sqrt(inputs) is by itself).
    """
    module, _, last = name.rpartition(".")
    if module.endswith("norm"):
        return Role(kind="norms", std=0, mean=1.0 if last == "weight" else 0.0)
    if last == "bias":
        return Role(kind="biases", std=0)
    base_width = config.mup_base_width or config.width
    ends, adds = module in ("embedding", "head"), module.endswith(("attention.out", "mlp.down"))
    if config.init == "mitchell":
        cut: float | None = 3.0
        num_inputs = base_width if ends else config.hidden if module.endswith("mlp.down") else config.width
        std = float((num_inputs * (2 * int(name.split(".")[1]) + 2 if adds else 1)) ** -0.5)
    else:
        cut = 2.0 if config.init == "scaled_normal" else None
        std = NORMAL_STD if config.init_std is None else config.init_std
        if not ends:
            std /= config.width_ratio**0.5
        if adds and config.init == "scaled_normal":
            std /= (2 * config.num_layers) ** 0.5
    kind: Kind = "embedding" if module == "embedding" else "matrices"
    return Role(kind=kind, std=std, cut=cut, rate_scale=1.0 if ends else 1 / config.width_ratio)


def _build(config: ModelConfig) -> Decoder:
    from dolma_pipeline.train.model import Decoder

    return Decoder(config)


def _blocks(model: Decoder) -> Iterable[nn.Module]:
    return model.blocks


DECODER = register_model(
    ModelSpec(
        name="decoder",
        config=ModelConfig,
        presets=PRESETS,
        build=_build,
        role=role,
        blocks=_blocks,
        vocabularies=VOCABULARIES,
    )
)
"""OLMo's, LLaMA's and CrystalCoder's architecture."""
