from __future__ import annotations

import dataclasses

import pytest
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.optim import adamw, learning_rate
from dolma_pipeline.train.presets import ModelConfig

CONFIG = TrainConfig(lr=0.01, warmup_steps=4, weight_decay=0.3)


def test_the_rate_goes_up_then_down_to_a_tenth() -> None:
    rates = [learning_rate(step, config=CONFIG, num_steps=13) for step in range(1, 14)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4:] == pytest.approx([0.01 - 0.001 * i for i in range(1, 10)])
    assert rates[-1] == pytest.approx(0.001)


def test_the_rate_may_stay() -> None:
    level = dataclasses.replace(CONFIG, schedule="constant", warmup_steps=0)
    assert [learning_rate(step, config=level, num_steps=9) for step in (1, 5, 9)] == [0.01, 0.01, 0.01]


def test_a_run_shorter_than_its_warm_up_ends_on_the_way() -> None:
    assert learning_rate(2, config=CONFIG, num_steps=2) == pytest.approx(0.005)


@pytest.mark.parametrize("tied", [True, False])
def test_the_embedding_is_not_decayed(tied: bool) -> None:
    shape = ModelConfig(vocab_size=8, sequence_length=4, width=8, num_layers=1, num_heads=2, hidden=8, tied=tied)
    model = Decoder(shape)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = adamw(model, CONFIG)
    assert {float(state["step"]) for state in optimizer.state.values()} == {0.0}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        kept = 1.0 if name == "embedding.weight" else 1 - 0.01 * 0.3
        torch.testing.assert_close(parameter.detach(), before[name] * kept)
