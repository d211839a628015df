"""Decoders of several widths with and without muP, trained in this process on sequences that can be learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.model import Decoder, nats
from dolma_pipeline.train.optim import adamw, set_rate
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.schedule import clipping_norm, learning_rate

WIDTHS = (64, 128, 256, 512)
BASE_WIDTH, VOCABULARY, LENGTH = 64, 24, 32


def sequences(num_batches: int, *, batch: int) -> list[Tensor]:
    """int64 [B, LENGTH + 1] a batch: with 0.9 an id follows from the two before it, else it is drawn."""
    generator = torch.Generator().manual_seed(7)
    follows = torch.randint(0, VOCABULARY, (VOCABULARY, VOCABULARY), generator=generator)
    made = []
    for _ in range(num_batches):
        ids = torch.randint(0, VOCABULARY, (batch, LENGTH + 1), generator=generator)
        surprise = torch.rand(ids.shape, generator=generator) < 0.1
        for t in range(2, LENGTH + 1):
            ids[:, t] = torch.where(surprise[:, t], ids[:, t], follows[ids[:, t - 2], ids[:, t - 1]])
        made.append(ids)
    return made


def decoder(width: int, *, mup: bool, **fields: Any) -> Decoder:
    """Two layers of this width with their first values."""
    config = ModelConfig(
        vocab_size=VOCABULARY,
        sequence_length=LENGTH,
        width=width,
        num_layers=2,
        num_heads=4,
        hidden=2 * width,
        mup_base_width=BASE_WIDTH if mup else None,
        **fields,
    )
    model = Decoder(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, config=config, seed=3))
    return model


def train(model: Decoder, batches: list[Tensor], *, config: TrainConfig) -> Iterator[float]:
    """A step a batch; the loss before each."""
    optimizer = adamw(model, config)
    for step, ids in enumerate(batches, 1):
        loss = nats(model(ids[:, :-1]), ids[:, 1:]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), clipping_norm(step, config=config))
        set_rate(optimizer, learning_rate(step, config=config, num_steps=len(batches)))
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()
