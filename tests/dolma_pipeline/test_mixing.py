from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.mixing import MIXERS, Available, checked_sizes, divide, mixer


@pytest.fixture
def own_mixers() -> Iterator[None]:
    before = dict(MIXERS)
    yield
    MIXERS.clear()
    MIXERS.update(before)


def declared(source: str, module: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": module, "mixer": mixer}
    exec(compile(source, f"{module}.py", "exec"), names)
    return names


def test_a_mixer_is_returned_unchanged_and_known(own_mixers: None) -> None:
    def even(sources: Mapping[str, Available], target: int, *, spare: int = 0) -> Mapping[str, int]:
        """The same for each.

        And more.
        """
        return {}

    assert mixer("even")(even) is even
    spec = MIXERS["even"]
    assert (spec.function, spec.parameters, spec.summary, spec.module) == (
        even,
        {"spare": 0},
        "The same for each.",
        __name__,
    )


@pytest.mark.parametrize(
    "signature", ["sources", "sources, target, t=0.5", "sources, target, *, t", "sources, target, **more"]
)
def test_parameters_are_keyword_only_with_defaults(signature: str, own_mixers: None) -> None:
    with pytest.raises(UsageError, match=r"^mixer 'odd': write def odd\(sources, target, \*, t: float = 0\.5\)$"):
        declared(f"@mixer('odd')\ndef odd({signature}): return {{}}", "one")
    assert "odd" not in MIXERS


def test_the_same_name_in_two_modules_is_an_error(own_mixers: None) -> None:
    source = "@mixer('even')\ndef even(sources, target): return {}"
    declared(source, "one")
    again = declared(source, "one")
    assert MIXERS["even"].function is again["even"]
    with pytest.raises(UsageError, match=r"^mixer 'even' is declared twice: in one\.py:1 and in two\.py:1; give"):
        declared(source, "two")


def test_size_is_in_what_the_budget_counts() -> None:
    counts = {"documents": 3, "bytes": 100, "tokens": 25}
    assert {unit: Available(unit=unit, **counts).size for unit in counts} == counts  # type: ignore[arg-type]
    assert Available(unit="documents", documents=0).size == 0
    for unit in ("tokens", "bytes"):
        with pytest.raises(ValueError, match=rf"^a budget in {unit} needs the number of {unit} of each source$"):
            Available(unit=unit, documents=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, {"a": 1, "b": 1}, {"a": 5, "b": 5}),
        (10, {"a": 2, "b": 1}, {"a": 7, "b": 3}),
        (1, {"b": 1, "a": 1}, {"a": 1, "b": 0}),  # equal remainders: the first in the alphabet
        (2, {"c": 1, "b": 1, "a": 1}, {"a": 1, "b": 1, "c": 0}),
        (7, {"a": 0, "b": 0.1}, {"a": 0, "b": 7}),
        (0, {"a": 1}, {"a": 0}),
        (10**18, {"a": 0.7, "b": 0.3}, {"a": 7 * 10**17, "b": 3 * 10**17}),
    ],
)
def test_divide_by_hand(total: int, weights: dict[str, float], expected: dict[str, int]) -> None:
    found = divide(total, weights)
    assert sum(found.values()) == total
    if total == 10**18:  # 0.7 + 0.3 are floats, so not exactly 7 to 3
        assert all(abs(found[name] - expected[name]) < 100 for name in expected)
    else:
        assert found == expected


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**12),
    st.dictionaries(st.text(max_size=3), st.floats(0, 1e9, allow_nan=False), min_size=1).filter(
        lambda w: any(w.values())
    ),
)
def test_divide_is_whole_near_and_the_same_in_any_order(total: int, weights: dict[str, float]) -> None:
    found = divide(total, weights)
    assert sum(found.values()) == total
    whole = sum(Fraction(weight) for weight in weights.values())
    assert all(abs(found[name] - total * Fraction(weight) / whole) < 1 for name, weight in weights.items())
    assert divide(total, dict(reversed(weights.items()))) == found


@pytest.mark.parametrize(
    ("total", "weights", "words"),
    [
        (-1, {"a": 1}, "the budget is -1; it is 0 or more"),
        (1, {"a": -0.5}, "the weight of source 'a' is -0.5; a weight is a finite number from 0"),
        (1, {"a": math.nan}, "the weight of source 'a' is nan"),
        (1, {"a": math.inf}, "the weight of source 'a' is inf"),
        (1, {"b": 0, "a": 0}, "no source has a weight above 0 (sources: a, b)"),
        (1, {}, "no source has a weight above 0 (sources: none)"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_words(total: int, weights: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        divide(total, weights)
    assert words in str(caught.value)


BOTH = {name: Available(unit="bytes", documents=1, bytes=10) for name in ("web", "code")}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "returned None, expected a mapping of source to a whole number of bytes (sources: web, code)"),
        ([5, 5], "returned [5, 5] (list), expected a mapping of source to a whole number of bytes"),
        ({}, "gives source 'web' no size; expected a whole number of bytes from 0 for each of: web, code"),
        ({"web": 5}, "gives source 'code' no size; expected a whole number of bytes from 0 for each of: web, code"),
        ({"web": 5, "code": 5, "forum": 0}, "gives source 'forum' a size; the sources are: web, code"),
        ({"web": 5, "code": 5, 0: 0}, "gives source 0 a size; the sources are: web, code"),
        ({"web": -5, "code": 5}, "gives source 'web' -5 (int), expected a whole number of bytes from 0"),
        ({"web": 5, "code": 5.0}, "gives source 'code' 5.0 (float), expected a whole number of bytes from 0"),
        ({"web": float("nan"), "code": 5}, "gives source 'web' nan (float), expected a whole number of bytes from 0"),
        ({"web": True, "code": 5}, "gives source 'web' True (bool), expected a whole number of bytes from 0"),
        ({"web": None, "code": 5}, "gives source 'web' None, expected a whole number of bytes from 0"),
        ({"web": "5", "code": 5}, "gives source 'web' '5' (str), expected a whole number of bytes from 0"),
        ({"web": 1200, "code": 1}, "gives 1,201 bytes together (web: 1,200, code: 1), expected at most the budget of"),
    ],
)
def test_what_a_mixer_may_not_give(given: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_sizes("mine", given, BOTH, 1200)
    assert str(caught.value).startswith(f"mixer 'mine' {words}")


@pytest.mark.parametrize("given", [{"web": 0, "code": 0}, {"code": 1100, "web": 100}, {"web": np.int64(7), "code": 1}])
def test_what_a_mixer_may_give(given: Mapping[str, int]) -> None:
    found = checked_sizes("mine", given, BOTH, 1200)
    assert found == given
    assert {type(size) for size in found.values()} == {int}
