"""One tensor of ours as theirs, and back: padding rows, joined matrices, pairs of channels, muP's multipliers.

A multiplier goes into the matrix beside it: the embedding's into the embedding, the logits' into the output,
attention's into the queries. Pairs of neighbours that turn together are moved to where transformers has them, half a
head apart; products of queries and keys are sums over channels, so their order is free.

Names of axes: D width, H heads, K width of a head, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dolma_pipeline.train.hugging_face.names import EMBEDDING, HEAD, KEYS, QUERIES, THEIR_HEAD, their_parts
from dolma_pipeline.train.hugging_face.shape import is_tied_there, query_scale
from dolma_pipeline.train.presets import ModelConfig


def as_theirs(name: str, value: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    """What transformers has for one of our parameters: name -> tensor, of the same dtype.

    Args:
        name: of a parameter of `Decoder`. value: the whole of it, on any device, the meta device too.
        config: a shape that transformers has a class for.
    """
    if name == EMBEDDING:
        rows_VD = value[: config.vocab_size]
        ((theirs, _),) = their_parts(name, config)
        found = {theirs: _scaled(rows_VD, config.embedding_scale)}
        if config.tied and not is_tied_there(config):
            found[THEIR_HEAD] = _scaled(rows_VD, config.logit_multiplier)
        return found
    if name == HEAD:
        return {THEIR_HEAD: _scaled(value[: config.vocab_size], config.logit_multiplier)}
    parts = their_parts(name, config)
    pieces = torch.split(value, [rows for _, rows in parts])
    return {theirs: _turned(theirs, piece, config) for (theirs, _), piece in zip(parts, pieces, strict=True)}


def as_ours(pieces: Sequence[Tensor], shape: torch.Size) -> Tensor:
    """One of our parameters, float32, from what files have for it; padding rows are 0.

    Args:
        pieces: the tensors of `their_parts` or `own_part`, in that order. shape: of the parameter.
    """
    value = torch.cat([piece.float() for piece in pieces]) if len(pieces) > 1 else pieces[0].float()
    missing = shape[0] - value.shape[0] if shape else 0
    return torch.cat((value, value.new_zeros((missing, *shape[1:])))) if missing else value


def first_rows(value: Tensor, rows: int) -> Tensor:
    """As many rows from the top; a single number has one."""
    return value[:rows] if value.ndim else value


def _turned(theirs: str, piece: Tensor, config: ModelConfig) -> Tensor:
    """Queries and keys for pairs half a head apart; queries with what attention is scaled by beyond 1/sqrt(K)."""
    is_query = f".{QUERIES}." in theirs
    if not is_query and f".{KEYS}." not in theirs:
        return piece
    if config.rope_interleaved:
        pairs = torch.unflatten(piece, 0, (-1, config.head_width // 2, 2))
        piece = pairs.transpose(1, 2).flatten(0, 2)
    return _scaled(piece, query_scale(config)) if is_query else piece


def _scaled(value: Tensor, factor: float) -> Tensor:
    return value if factor == 1 else value * factor
