"""Against the spread of estimates over many samples, and the standard library."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.evals.spread import Estimate, mean, mean_of_groups, ratio


def test_a_mean() -> None:
    values = [0.5, 2.0, 3.25, -1.0]
    assert mean(values) == (pytest.approx(statistics.mean(values)), pytest.approx(statistics.stdev(values) / 2))
    assert mean([0.3]) == Estimate(0.3, None)
    shares = [1.0] * 3 + [0.0] * 7
    assert mean(shares).error == pytest.approx(math.sqrt(0.3 * 0.7 / 9))


def test_a_ratio_of_equal_denominators_is_a_mean() -> None:
    values = [0.5, 2.0, 3.25, -1.0]
    assert ratio([2 * value for value in values], [2.0] * 4) == pytest.approx(mean(values))
    assert ratio([3.0], [4.0]) == Estimate(0.75, None)


def test_the_error_of_a_ratio_is_the_spread_of_ratios() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    below = random.lognormal(3, 0.7, (2000, 200))
    above = below * random.normal(1.7, 0.3, below.shape) + random.normal(0, 2, below.shape)
    found = [ratio(y, x) for y, x in zip(above.tolist(), below.tolist(), strict=True)]
    spread = statistics.stdev(one.value for one in found)
    assert statistics.mean(one.error or 0 for one in found) == pytest.approx(spread, rel=0.05)


def test_a_mean_of_groups() -> None:
    assert mean_of_groups([Estimate(0.2, 0.03), Estimate(0.4, 0.04)]) == (pytest.approx(0.3), pytest.approx(0.025))
    assert mean_of_groups([Estimate(0.2, 0.03), Estimate(0.4, None)]) == (pytest.approx(0.3), None)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_mean_and_standard_error(values: list[float]) -> None:
    middle, error = mean(values)
    assert middle == pytest.approx(np.mean(values))
    assert error == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), abs=1e-12)


def test_one_value_has_no_error() -> None:
    assert mean([0.25]) == (0.25, None)
