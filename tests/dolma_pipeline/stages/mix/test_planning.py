"""The plan of a mix: budgets are kept, clusters stay whole, and a larger budget only adds documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import HeldOutConfig, MixConfig, MixSourceConfig
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.stages.mix.planning import (
    MixPlan,
    Selection,
    Unit,
    budget_of,
    cut_of,
    plan_mix,
)

PROPORTIONAL = load_mixer("proportional")


def selection(seed: int, num_documents: int, *, clusters: int = 10**6, longest: int = 50) -> Selection:
    """Documents of a source; those of `clusters` names share a held-out key, also with other sources."""
    random = np.random.default_rng(seed)
    names = np.random.default_rng(99).integers(0, 2**64, clusters, np.uint64)
    return of(
        random.integers(0, 2**64, num_documents, np.uint64),
        names[random.integers(0, clusters, num_documents)],
        random.integers(1, longest + 1, num_documents),
    )


def of(keys: np.ndarray, held_keys: np.ndarray, tokens: np.ndarray) -> Selection:
    """Documents of these keys and tokens; of bytes each has three a token."""
    return Selection(keys, held_keys, tokens, 3 * tokens)


def mix(
    target: int | None = None,
    *,
    unit: Unit = "tokens",
    max_epochs: float = 1.0,
    share: float = 0.0,
    held: int = 10**9,
    **weights: float,
) -> MixConfig:
    held_out = HeldOutConfig(share=share, max_tokens=held) if share else None
    sources = {name: MixSourceConfig(weight=weight) for name, weight in weights.items()}
    config = MixConfig(max_epochs=max_epochs, held_out=held_out, sources=sources)
    return replace(config, **{f"target_{unit}": target})


UNITS: list[Unit] = ["tokens", "bytes", "documents"]


def sizes(one: Selection, unit: Unit) -> np.ndarray:
    """How much of a budget each document takes."""
    return {"tokens": one.tokens, "bytes": one.bytes, "documents": np.ones_like(one.tokens)}[unit]


def copies(plan: MixPlan, selections: Mapping[str, Selection]) -> dict[str, np.ndarray]:
    """Copies of each document to train on."""
    return {
        name: np.where(plan.is_held(name, one.held_keys), 0, plan.copies(name, one.keys))
        for name, one in selections.items()
    }


sources = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(selection, st.integers(0, 10**6), st.integers(0, 60), clusters=st.sampled_from([5, 40, 10**6])),
    min_size=1,
).filter(lambda found: any(len(one.keys) for one in found.values()))


@settings(max_examples=150, deadline=None)
@given(sources, st.integers(1, 20_000), st.sampled_from([0.3, 1.0, 1.7, 4.0]), st.sampled_from([0.0, 0.05, 0.5]),
       st.sampled_from(UNITS))  # fmt: skip
def test_the_plan_is_what_its_keys_choose(
    selections: dict[str, Selection], target: int, max_epochs: float, share: float, unit: Unit
) -> None:
    plan = plan_mix(selections, mix(target, unit=unit, max_epochs=max_epochs, share=share), PROPORTIONAL)
    chosen = copies(plan, selections)
    taken = {"tokens": lambda one: one.tokens, "bytes": lambda one: one.bytes, "documents": lambda one: one.documents}
    assert plan.unit == unit
    assert sum(taken[unit](one) for one in plan.sources.values()) <= target
    for name, one in plan.sources.items():
        selected = selections[name]
        held = plan.is_held(name, selected.held_keys)
        size = sizes(selected, unit)
        assert one.tokens == int((chosen[name] * selected.tokens).sum())
        assert one.bytes == int((chosen[name] * selected.bytes).sum())
        assert one.documents == int(chosen[name].sum())
        assert taken[unit](one) <= one.wanted
        assert taken[unit](one) <= max_epochs * one.available[unit]
        for found, some in ((one.available, ~held), (one.held_out, held)):
            assert found == {
                "documents": int(some.sum()),
                "tokens": int(selected.tokens[some].sum()),
                "bytes": int(selected.bytes[some].sum()),
            }
        assert one.limited == (one.wanted > int(max_epochs * one.available[unit]))
        assert chosen[name].max(initial=0) <= np.ceil(max_epochs)
        # No document that would fit was left out: the next of the order is longer than what is left.
        rest = min(one.wanted, int(max_epochs * one.available[unit])) - taken[unit](one)
        left = ~held & (chosen[name] == one.full_epochs)
        if left.any():
            assert size[left][np.argmin(selected.keys[left])] > rest


@settings(max_examples=100, deadline=None)
@given(sources, st.integers(1, 10_000), st.integers(0, 10_000), st.sampled_from([0.0, 0.2]))
def test_a_larger_budget_only_adds(selections: dict[str, Selection], target: int, more: int, share: float) -> None:
    small, large = (
        copies(plan_mix(selections, mix(t, max_epochs=3.0, share=share), PROPORTIONAL), selections)
        for t in (target, target + more)
    )
    assert all((small[name] <= large[name]).all() for name in selections)


@settings(max_examples=150, deadline=None)
@given(sources, st.sampled_from([0.01, 0.2, 0.6]), st.sampled_from([1, 60, 10**9]))
def test_clusters_are_held_out_whole_in_all_sources(
    selections: dict[str, Selection], share: float, max_tokens: int
) -> None:
    plan = plan_mix_or_none(selections, mix(share=share, held=max_tokens))
    if plan is None:
        return
    held = {name: plan.is_held(name, one.held_keys) for name, one in selections.items()}
    inside = {int(key) for name, one in selections.items() for key in one.held_keys[held[name]]}
    outside = {int(key) for name, one in selections.items() for key in one.held_keys[~held[name]]}
    assert not inside & outside
    for name, one in selections.items():
        assert one.tokens[held[name]].sum() <= max_tokens
        others = {int(key) for other, two in selections.items() if other != name for key in two.held_keys}
        alone = [int(key) for key in np.unique(one.held_keys) if int(key) not in others]
        if max_tokens == 10**9 and len(one.held_keys) == len(alone) > 1:
            below = sum(key < share * 2**64 for key in alone)
            assert held[name].sum() == max(1, below)  # never nothing to measure on


def plan_mix_or_none(selections: dict[str, Selection], config: MixConfig) -> MixPlan | None:
    return plan_mix(selections, config, PROPORTIONAL) if selections else None


def test_a_cluster_that_one_source_cannot_hold_is_trained_on_in_both() -> None:
    """Source b has room for its smallest cluster only, so the second, which is in a, too, is spared there."""
    keys = np.array([1, 2, 3], np.uint64)
    a = of(keys, np.array([10, 20, 30], np.uint64), np.array([5, 5, 5]))
    b = of(keys, np.array([10, 20, 2**63], np.uint64), np.array([5, 5, 5]))
    config = HeldOutConfig(share=0.4, max_tokens=9)
    roomy = plan_mix({"a": a, "b": b}, MixConfig(held_out=HeldOutConfig(share=0.4, max_tokens=99)), PROPORTIONAL)
    assert roomy.is_held("a", a.held_keys).tolist() == [True, True, True]
    assert roomy.is_held("b", b.held_keys).tolist() == [True, True, False]
    tight = plan_mix({"a": a, "b": b}, MixConfig(held_out=config), PROPORTIONAL)
    assert tight.is_held("b", b.held_keys).tolist() == [True, False, False]
    assert tight.is_held("a", a.held_keys).tolist() == [True, False, False]
    wide = of(keys, a.held_keys, np.array([2, 2, 2]))
    spared = plan_mix({"a": wide, "b": b}, MixConfig(held_out=config), PROPORTIONAL)
    assert spared.held_keys == (20,)
    assert spared.is_held("a", wide.held_keys).tolist() == [True, False, True]


def test_without_a_budget_everything_is_taken_once() -> None:
    selections = {"a": selection(1, 50), "b": selection(2, 0)}
    plan = plan_mix(selections, mix(), PROPORTIONAL)
    assert copies(plan, selections)["a"].tolist() == [1] * 50
    assert (plan.sources["a"].epochs, plan.sources["b"].epochs) == (1.0, 0.0)
    assert (plan.sources["b"].documents, plan.sources["b"].available) == (0, {"documents": 0, "tokens": 0, "bytes": 0})
    assert MixPlan.from_json(plan.to_json()) == plan


def test_whole_epochs_and_a_part() -> None:
    selections = {"a": of(np.arange(4, dtype=np.uint64), np.arange(4, dtype=np.uint64), np.full(4, 10))}
    plan = plan_mix(selections, mix(95, max_epochs=4), PROPORTIONAL)
    assert plan.copies("a", selections["a"].keys).tolist() == [3, 2, 2, 2]
    one = plan.sources["a"]
    assert (one.full_epochs, one.cut, one.tokens, one.documents, one.epochs) == (2, 0, 90, 9, 2.25)


def test_what_is_wrong() -> None:
    with pytest.raises(DataError, match="mix: no document passes the rules"):
        plan_mix({"a": selection(1, 0)}, mix(), PROPORTIONAL)
    with pytest.raises(
        UsageError, match=r"^mix\.sources\.a\.weight needs a budget: set mix\.target_tokens, mix\.target_"
    ):
        plan_mix({"a": selection(1, 5)}, mix(a=2.0), PROPORTIONAL)


def test_what_a_budget_counts() -> None:
    assert budget_of(mix(5), tokenizer=True) == ("tokens", 5)
    assert budget_of(mix(5, unit="documents"), tokenizer=True) == ("documents", 5)
    assert budget_of(mix(5, unit="bytes"), tokenizer=False) == ("bytes", 5)
    assert budget_of(mix(), tokenizer=True) == ("tokens", None)
    assert budget_of(mix(), tokenizer=False) == ("bytes", None)


@pytest.mark.parametrize(
    ("max_tokens", "max_bytes", "held"), [(None, None, 9001), (7000, None, 7), (7000, 9000, 3), (None, 9000, 3)]
)
def test_bounds_of_what_is_held_out(max_tokens: int | None, max_bytes: int | None, held: int) -> None:
    """Documents of 1,000 tokens and 3,000 bytes, clusters of their own."""
    keys = np.arange(10_000, dtype=np.uint64) * np.uint64(2**64 // 10_000)
    one = Selection(keys, keys, np.full(10_000, 1000), np.full(10_000, 3000))
    config = MixConfig(held_out=HeldOutConfig(share=0.9, max_tokens=max_tokens, max_bytes=max_bytes))
    plan = plan_mix({"a": one}, config, PROPORTIONAL)
    assert plan.is_held("a", keys).sum() == held


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=12), st.integers(0, 60))
def test_a_cut_takes_what_its_key_says_though_keys_are_equal(documents: list[tuple[int, int]], rest: int) -> None:
    keys = np.array([key for key, _ in documents], np.uint64)
    size = np.array([tokens for _, tokens in documents], np.int64)
    cut, taken = cut_of(keys, size, rest)
    chosen = keys <= np.uint64(cut) if cut is not None else np.zeros(len(keys), np.bool_)
    assert (int(chosen.sum()), int(size[chosen].sum()) <= rest) == (taken, True)
    more = sorted({int(key) for key in keys[~chosen]})
    if more and rest:
        assert size[keys <= np.uint64(more[0])].sum() > rest, "one key more would not fit"
