"""Connected components against scipy."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dolma_pipeline.dedup.components import components
from dolma_pipeline.errors import DataError

NODE = st.integers(0, 12) | st.integers(2**40, 2**40 + 3)


def oracle(edges: np.ndarray) -> tuple[list[int], list[int]]:
    nodes, index = np.unique(edges, return_inverse=True)
    index = index.reshape(edges.shape)
    graph = coo_array((np.ones(len(edges)), (index[:, 0], index[:, 1])), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=False)
    return nodes.tolist(), [int(nodes[labels == label].min()) for label in labels]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NODE, NODE), min_size=1, max_size=25))
def test_equals_scipy(pairs: list[tuple[int, int]]) -> None:
    edges = np.array(pairs, np.int64)
    nodes, labels = components(edges)
    assert (nodes.dtype, labels.dtype) == (np.int64, np.int64)
    assert (nodes.tolist(), labels.tolist()) == oracle(edges)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NODE, NODE), min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_order_direction_and_repeats_do_not_matter(pairs: list[tuple[int, int]], random: Random) -> None:
    other = [(b, a) if random.random() < 0.5 else (a, b) for a, b in pairs + pairs]
    random.shuffle(other)
    for one, two in zip(components(np.array(pairs)), components(np.array(other)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_large_random_graph_equals_scipy() -> None:
    edges = np.random.default_rng(1).integers(0, 200_000, (90_000, 2))
    nodes, labels = components(edges)
    want_nodes, index = np.unique(edges, return_inverse=True)
    index = index.reshape(edges.shape)
    graph = coo_array((np.ones(len(edges)), (index[:, 0], index[:, 1])), shape=(len(want_nodes),) * 2)
    count, want = connected_components(graph, directed=False)
    np.testing.assert_array_equal(nodes, want_nodes)
    smallest = np.full(count, nodes.max())
    np.minimum.at(smallest, want, nodes)
    np.testing.assert_array_equal(labels, smallest[want])


def test_no_edge_no_node() -> None:
    nodes, labels = components(np.zeros((0, 2), np.int64))
    assert len(nodes) == len(labels) == 0


def test_what_is_no_pair_is_told() -> None:
    with pytest.raises(DataError, match=r"shape \(k, 2\), found \(3,\)"):
        components(np.zeros(3, np.int64))
