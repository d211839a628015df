"""Rates and clipping norms of steps, against what the formulas say in plain Python."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.schedule import clipping_norm, learning_rate

CONFIG = TrainConfig(lr=0.01, warmup_steps=4)


def rates(num_steps: int, **values: Any) -> list[float]:
    config = dataclasses.replace(CONFIG, **values)
    return [learning_rate(step, config=config, num_steps=num_steps) for step in range(1, num_steps + 1)]


def test_linear_goes_up_then_down_to_a_tenth() -> None:
    found = rates(13)
    assert found[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert found[4:] == pytest.approx([0.01 - 0.001 * i for i in range(1, 10)])
    assert found[-1] == pytest.approx(0.001)


def test_linear_is_bit_for_bit_what_it_was_before_its_end_could_be_chosen() -> None:
    """Golden losses depend on it."""
    assert rates(97, lr=0.003, warmup_steps=7)[7:] == [0.003 * (1 - (1 - 0.1) * ((s - 7) / 90)) for s in range(8, 98)]
    assert rates(97, lr=0.003) == rates(97, lr=0.003, final_lr_share=0.1)


def test_linear_to_another_end() -> None:
    assert rates(14, final_lr_share=0.0)[4:] == pytest.approx([0.01 - 0.001 * i for i in range(1, 11)])
    assert rates(14, final_lr_share=0.7)[-1] == pytest.approx(0.007)


def test_cosine() -> None:
    """Half a turn of the circle: after 1/3 of the way a quarter of the fall is done, after 1/2 a half of it."""
    found = rates(16, schedule="cosine")
    assert found[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    fall = 0.009
    assert [found[i - 1] for i in (8, 10, 12, 16)] == pytest.approx([0.01 - fall * i for i in (0.25, 0.5, 0.75, 1)])
    assert rates(16, schedule="cosine", final_lr_share=0.4)[-1] == pytest.approx(0.004)


def test_wsd_stays_and_goes_down_in_a_line_over_the_last_part() -> None:
    found = rates(40, schedule="wsd", decay_share=0.25, final_lr_share=0.0)
    assert found[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert found[4:30] == [0.01] * 26
    assert found[30:] == pytest.approx([0.01 - 0.001 * i for i in range(1, 11)])
    by_default = rates(40, schedule="wsd")
    assert by_default[3:36] == [0.01] * 33
    assert by_default[36:] == pytest.approx([0.01 - 0.00225 * i for i in range(1, 5)])


def test_wsd_never_goes_down_before_the_warm_up_is_over() -> None:
    assert rates(13, schedule="wsd", decay_share=1.0) == rates(13)
    assert rates(6, schedule="wsd", decay_share=0.01)[3:] == pytest.approx([0.01, 0.01, 0.001])  # at least one step


def test_the_rate_may_stay() -> None:
    assert rates(9, schedule="constant", warmup_steps=0) == [0.01] * 9


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "constant"])
def test_a_run_not_longer_than_its_warm_up_ends_on_the_way(schedule: str) -> None:
    assert rates(2, schedule=schedule) == pytest.approx([0.0025, 0.005])
    assert rates(4, schedule=schedule) == pytest.approx([0.0025, 0.005, 0.0075, 0.01])


@given(
    schedule=st.sampled_from(["linear", "cosine", "wsd"]),
    warmup_steps=st.integers(0, 50),
    more=st.integers(1, 200),
    final=st.floats(0, 1),
    share=st.floats(0.001, 1),
)
def test_schedules_fall_from_the_peak_to_the_final_share(
    schedule: str, warmup_steps: int, more: int, final: float, share: float
) -> None:
    values: dict[str, Any] = {"schedule": schedule, "warmup_steps": warmup_steps, "final_lr_share": final}
    if schedule == "wsd":
        values["decay_share"] = share
    found = rates(warmup_steps + more, lr=1.0, **values)
    after = found[warmup_steps:]
    assert math.isclose(after[-1], final, abs_tol=1e-12)
    assert all(a >= b - 1e-12 for a, b in zip([1.0, *after], after, strict=False))
    assert found[:warmup_steps] == [step / warmup_steps for step in range(1, warmup_steps + 1)]


def test_a_horizon_beyond_the_last_step_changes_the_slope_only() -> None:
    """A run that is cut: CrystalCoder's first stage of 79,721 steps on a line of 294,337 (its released parameters)."""
    config = TrainConfig(lr=0.012, warmup_steps=86, final_lr_share=0.00012408 / 0.012)
    assert learning_rate(79_721, config=config, num_steps=86 + 294_337) == pytest.approx(0.0087869, rel=1e-5)
    assert learning_rate(294_423, config=config, num_steps=86 + 294_337) == pytest.approx(0.00012408)


def test_the_first_steps_may_have_a_larger_norm() -> None:
    def norms(**values: Any) -> list[float]:
        config = dataclasses.replace(CONFIG, max_grad_norm=0.5, **values)
        return [clipping_norm(step, config=config) for step in range(1, 5)]

    assert norms() == [0.5] * 4
    assert norms(grad_clip_warmup_steps=2) == [5.0, 5.0, 0.5, 0.5]
    assert norms(grad_clip_warmup_steps=3, grad_clip_warmup_factor=2.0) == [1.0, 1.0, 1.0, 0.5]
