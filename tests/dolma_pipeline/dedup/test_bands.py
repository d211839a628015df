from __future__ import annotations

import pytest
from datasketch.lsh import _optimal_param

from dolma_pipeline.dedup.bands import best, chance, signature_bytes, solved
from dolma_pipeline.errors import UsageError


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("num_perm", [64, 112, 128])
def test_the_best_shape_is_datasketchs(threshold: float, num_perm: int) -> None:
    shapes = [(b, r) for b in range(1, num_perm + 1) for r in range(1, num_perm // b + 1)]
    assert best(threshold, shapes) == tuple(_optimal_param(threshold, num_perm, 0.5, 0.5))


@pytest.mark.parametrize("budget", [13, 100, 280, 288, 500])
def test_a_budget_is_kept(budget: int) -> None:
    bands, rows = solved(0.8, budget)
    assert signature_bytes(bands=bands, rows=rows) <= budget
    shapes = [(b, r) for b in range(1, 60) for r in range(1, 500) if signature_bytes(bands=b, rows=r) <= budget]
    assert (bands, rows) == best(0.8, [shape for shape in shapes if shape[0] * shape[1] <= 512])


def test_no_band_fits_into_twelve_bytes() -> None:
    with pytest.raises(UsageError, match=r"^12 bytes hold no band; the smallest signature has 13\."):
        solved(0.8, 12)


def test_the_chance_to_be_looked_at() -> None:
    assert round(chance(0.8, bands=14, rows=8), 2) == 0.92
    assert round(chance(0.5, bands=16, rows=6), 2) == 0.22
    assert signature_bytes(bands=14, rows=8) == 280
