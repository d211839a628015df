from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.optim import adamw, set_rate
from dolma_pipeline.train.presets import ModelConfig

CONFIG = TrainConfig(lr=0.01, warmup_steps=4, weight_decay=0.3)
SHAPE = ModelConfig(vocab_size=8, sequence_length=4, width=8, num_layers=1, num_heads=2, hidden=8, tied=False)


DECAYED: dict[str, tuple[str, ...]] = {
    "matrices": ("matrices",),
    "with the embedding": ("matrices", "embedding"),
    "all": ("matrices", "embedding", "norms", "biases"),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kinds", DECAYED.values(), ids=DECAYED)
def test_what_is_decayed(tied: bool, kinds: tuple[Any, ...]) -> None:
    config = dataclasses.replace(CONFIG, weight_decay_on=kinds)
    shape = dataclasses.replace(SHAPE, tied=tied, norm="layer_norm", biases=True)
    model = Decoder(shape)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = adamw(model, config)
    assert {float(state["step"]) for state in optimizer.state.values()} == {0.0}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rate(optimizer, 0.01)
    optimizer.step()
    for name, parameter in model.named_parameters():
        kind = (
            "embedding"
            if name == "embedding.weight"
            else "norms"
            if "norm" in name
            else "biases"
            if name.endswith("bias")
            else "matrices"
        )
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - 0.01 * 0.3 if kind in kinds else 1.0))


def test_under_mup_hidden_matrices_learn_and_decay_at_their_share_of_the_rate() -> None:
    """Adam's first step is the rate in the direction of the gradient's sign; a decayed weight loses rate x decay."""
    shape = dataclasses.replace(SHAPE, mup_base_width=2, biases=True)
    model = Decoder(shape)
    optimizer = adamw(model, CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.full_like(parameter, 5.0)
    set_rate(optimizer, 0.1)
    optimizer.step()
    for name, parameter in model.named_parameters():
        rate = 0.1 / 4 if name.startswith("blocks.") and name.endswith("weight") else 0.1
        decay = 0.3 if name.endswith("weight") and not name.startswith("embedding") else 0.0
        torch.testing.assert_close(parameter, torch.full_like(parameter, 1 - rate * decay - rate), msg=name)


@pytest.mark.parametrize(
    ("shape", "words"), [({}, "names biases and norms, but"), ({"norm": "rms_norm"}, "names biases, but")]
)
def test_a_kind_that_the_model_has_none_of(shape: dict[str, Any], words: str) -> None:
    config = dataclasses.replace(CONFIG, weight_decay_on=("norms", "biases", "matrices"))
    with pytest.raises(UsageError, match=rf"train.weight_decay_on {words} this model has none"):
        adamw(Decoder(dataclasses.replace(SHAPE, **shape)), config)
