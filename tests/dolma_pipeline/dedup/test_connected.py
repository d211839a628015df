"""Groups over all steps, without the kernel, are its connected components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup import components as module
from dolma_pipeline.dedup.components import components, connected

CLUSTERS = st.lists(st.sets(st.integers(0, 30), min_size=2, max_size=4), max_size=8)


def partition(sets: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of one step: documents, each in one, and the smallest of its cluster."""
    label: dict[int, int] = {}
    for one in sets:
        own = sorted(one - set(label))
        label |= dict.fromkeys(own, own[0] if own else 0)
    nodes = sorted(label)
    return np.array(nodes, np.int64), np.array([label[node] for node in nodes], np.int64)


@pytest.mark.parametrize("rounds", [20, 1])
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(CLUSTERS, min_size=1, max_size=3))
def test_as_the_kernel_has_it(rounds: int, steps: list[list[set[int]]]) -> None:
    members = {f"step_{i}": partition(sets) for i, sets in enumerate(steps)}
    edges = np.concatenate([np.stack([labels, own], axis=1) for own, labels in members.values()])
    nodes, expected = components(edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_ROUNDS", rounds)
        assert connected(members, nodes).tolist() == expected.tolist()


def test_a_long_chain() -> None:
    a = [{2 * i, 2 * i + 1} for i in range(40)]
    b = [{2 * i + 1, 2 * i + 2} for i in range(40)]
    members = {"a": partition(a), "b": partition(b)}
    nodes = np.arange(81)
    assert set(connected(members, nodes).tolist()) == {0}
