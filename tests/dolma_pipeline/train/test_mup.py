"""muP keeps what it promises: activations change as much at every width, and the best rate stays where it is.

Source: Yang et al. 2022 (arXiv 2203.03466): section D.1 is the coordinate check, figure 1 the sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.train import mup
from tests.dolma_pipeline.train.mup import WIDTHS

NUM_STEPS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The matrices are small: a second thread would spend its time waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def outputs(model: Decoder, tokens_BT: Tensor) -> dict[str, Tensor]:
    """What attention and SwiGLU of each block add to the stream, and the logits."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _given, out: found.__setitem__(name, out)

    parts = {name: one for name, one in model.named_modules() if name.endswith(("attention", "mlp"))}
    hooks = [module.register_forward_hook(keep(name)) for name, module in parts.items()]
    with torch.no_grad():
        found["logits"] = model(tokens_BT)
    for hook in hooks:
        hook.remove()
    return found


def changes(width: int, *, with_mup: bool, **fields: Any) -> dict[str, float]:
    """Root of the mean square by which each output changes over some steps at a rate that does not depend on width."""
    *batches, last = mup.sequences(NUM_STEPS + 1, batch=4)
    model = mup.decoder(width, mup=with_mup, **fields)
    before = outputs(model, last[:, :-1])
    list(mup.train(model, batches, config=TrainConfig(lr=0.01, warmup_steps=0, schedule="constant")))
    after = outputs(model, last[:, :-1])
    return {name: (after[name] - before[name]).square().mean().sqrt().item() for name in after}


SHAPES: dict[str, dict[str, Any]] = {
    "OLMo": {"tied": False},
    "CrystalCoder": {"tied": True, "init": "scaled_normal", "norm": "layer_norm", "biases": True},
}


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_activations_change_as_much_at_every_width(fields: dict[str, Any]) -> None:
    found = [changes(width, with_mup=True, **fields) for width in WIDTHS]
    for name in found[0]:
        sizes = [one[name] for one in found]
        assert max(sizes) < 2.5 * min(sizes), (name, sizes)
    # the same does not hold of models whose rates and multipliers do not know the width
    narrow, wide = (changes(width, with_mup=False, **fields) for width in (WIDTHS[0], WIDTHS[-1]))
    for name in narrow:
        assert wide[name] > (1.5 if name == "logits" else 5) * narrow[name], (name, narrow[name], wide[name])


@pytest.mark.slow
def test_the_best_rate_is_the_same_at_every_width() -> None:
    """Within a factor of 2, over eight times the width; without muP it falls by at least 4."""
    batches = mup.sequences(150, batch=8)

    def losses(width: int, *, with_mup: bool) -> dict[int, float]:
        """Power of two that the peak rate is -> mean loss of the last fifth of the steps."""
        found = {}
        for power in range(-11, -3):
            config = TrainConfig(lr=2.0**power, warmup_steps=15)
            seen = list(mup.train(mup.decoder(width, mup=with_mup, tied=False), batches, config=config))
            found[power] = sum(seen[-30:]) / 30
        print("muP" if with_mup else "none", width, " ".join(f"2^{power} {loss:.3f}" for power, loss in found.items()))
        return found

    def best(found: dict[int, float]) -> int:
        power = min(found, key=found.__getitem__)
        assert power not in (min(found), max(found)), "the best rate lies at an end of the sweep; it may be beyond"
        return power

    with_mup = [best(losses(width, with_mup=True)) for width in WIDTHS]
    assert max(with_mup) - min(with_mup) <= 1, with_mup
    narrow = best(losses(WIDTHS[0], with_mup=False))
    wide = losses(WIDTHS[-1], with_mup=False)  # its best rate may lie below the sweep
    assert narrow - min(wide, key=wide.__getitem__) >= 2, (narrow, wide)
