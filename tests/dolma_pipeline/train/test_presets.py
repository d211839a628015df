from __future__ import annotations

import pytest
import torch

from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import PRESETS, ModelConfig, model_config

OLMO = {"vocab_size": 50_280, "sequence_length": 2048}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_count_of_parameters_is_that_of_the_model(name: str) -> None:
    config = model_config(name, **OLMO)
    with torch.device("meta"):
        model = Decoder(config)
    assert sum(p.numel() for p in model.parameters()) == config.num_parameters


@pytest.mark.parametrize(
    ("name", "vocab_size", "count"),
    [
        ("olmo-1b", 50_280, 1_176_764_416),  # 1.18B, as published
        ("olmo-7b", 50_280, 6_888_095_744),  # 6.89B, as published
        ("20m", 50_280, 21_266_432),
        ("60m", 50_280, 57_065_472),
        ("150m", 50_280, 151_879_680),
        ("tiny", 4_096, 1_900_544),
    ],
)
def test_sizes(name: str, vocab_size: int, count: int) -> None:
    assert model_config(name, vocab_size=vocab_size, sequence_length=256).num_parameters == count


def test_rows_are_padded() -> None:
    assert model_config("olmo-1b", **OLMO).num_rows == 50_304
    assert model_config("tiny", vocab_size=4_096, sequence_length=8).num_rows == 4_096


def test_an_unknown_model_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"no model named 'olmo-1B'. Did you mean 'olmo-1b'"):
        model_config("olmo-1B", **OLMO)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UsageError, match="width 30 needs heads of an even width; it has 4 heads"):
        ModelConfig(vocab_size=9, sequence_length=8, width=30, num_layers=1, num_heads=4, hidden=8, tied=True)
