from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.mixing import Available, Unit
from mixers.proportional import proportional


def sources(unit: Unit = "tokens", **found: tuple[int, float | None]) -> dict[str, Available]:
    """Sources of these sizes; in the other units they have something else."""
    return {
        name: Available(**({"documents": 7, "bytes": 7, "tokens": 7} | {unit: size}), unit=unit, weight=weight)  # type: ignore[arg-type]
        for name, (size, weight) in found.items()
    }


@pytest.mark.parametrize("unit", ["tokens", "bytes", "documents"])
def test_any_unit(unit: Unit) -> None:
    assert proportional(sources(unit, web=(900, None), code=(100, None)), 100) == {"web": 90, "code": 10}
    assert proportional(sources(unit, web=(600, 1), code=(200, 3), none=(0, 5)), 800) == {
        "web": 200, "code": 600, "none": 0
    }  # fmt: skip


def test_weights_as_given_whatever_their_sum() -> None:
    assert proportional(sources(web=(900, 0.7), code=(100, 0.3)), 1000) == {"web": 700, "code": 300}
    assert proportional(sources(web=(900, 7), code=(100, 3)), 1000) == {"web": 700, "code": 300}


def test_without_weights_by_size() -> None:
    assert proportional(sources(web=(900, None), code=(100, None)), 100) == {"web": 90, "code": 10}


def test_some_weights_divide_what_their_sources_have_by_size() -> None:
    found = proportional(sources(web=(600, 1), code=(200, 3), books=(200, None)), 1000)
    assert found == {"web": 200, "code": 600, "books": 200}


def test_a_source_may_get_more_than_it_has() -> None:
    assert proportional(sources(web=(10, 1), code=(1000, 1)), 200) == {"web": 100, "code": 100}


def test_an_empty_source_gets_nothing_and_the_others_its_share() -> None:
    assert proportional(sources(web=(0, 9), code=(10, 1)), 100) == {"web": 0, "code": 100}
    assert proportional(sources(web=(0, 9), code=(0, None)), 100) == {"web": 0, "code": 0}
    assert proportional({}, 100) == {}


def test_weight_zero_leaves_a_source_out() -> None:
    assert proportional(sources(web=(10, 0), code=(10, 1)), 100) == {"web": 0, "code": 100}
    assert proportional(sources(web=(10, 0), code=(10, None)), 100) == {"web": 0, "code": 100}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the weight of source 'web' is -1\.0; a weight is a finite number from 0"):
        proportional(sources(web=(10, -1), code=(10, 2)), 100)
    with pytest.raises(UsageError, match="the weight of source 'web' is nan"):
        proportional(sources(web=(10, math.nan)), 100)
    with pytest.raises(UsageError, match=r"no source has a weight above 0 \(sources: code, web\)"):
        proportional(sources(web=(10, 0), code=(10, 0)), 100)
    with pytest.raises(UsageError, match="the budget is -5; it is 0 or more"):
        proportional(sources(web=(10, 1)), -5)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.tuples(st.integers(1, 10**12), st.none() | st.floats(0.001, 1000)), min_size=1
    ),
    st.integers(0, 10**12),
)
def test_the_whole_budget_is_given_in_any_order_of_sources(
    found: dict[str, tuple[int, float | None]], target: int
) -> None:
    mixed = proportional(sources(**found), target)
    assert sum(mixed.values()) == target
    assert min(mixed.values()) >= 0
    assert mixed == proportional(sources(**dict(reversed(found.items()))), target)
