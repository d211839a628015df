from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.evals.pass_at_k import pass_at_k


@given(st.integers(1, 9), st.data())
def test_against_every_draw(num_samples: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, num_samples))
    k = data.draw(st.integers(1, num_samples))
    draws = [any(one < passed for one in draw) for draw in combinations(range(num_samples), k)]
    assert pass_at_k(num_samples, passed, k) == sum(draws) / len(draws)


@pytest.mark.parametrize(("passed", "k"), [(0, 1), (3, 1), (3, 100), (50, 10), (150, 100), (200, 200)])
def test_against_the_product_of_the_paper(passed: int, k: int) -> None:
    left = 200 - passed
    product = 1.0 if left < k else 1.0 - math.prod(1.0 - k / n for n in range(left + 1, 201))
    assert pass_at_k(200, passed, k) == pytest.approx(product, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("num_samples", "passed", "k"), [(3, 0, 4), (3, 0, 0), (3, 4, 1), (3, -1, 1), (0, 0, 1)])
def test_numbers_that_do_not_fit(num_samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"num_samples={num_samples}, num_passed={passed}, k={k}"):
        pass_at_k(num_samples, passed, k)
