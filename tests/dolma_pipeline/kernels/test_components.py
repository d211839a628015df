"""Union-find against breadth-first search in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.kernels import components
from dolma_pipeline.kernels.components import smallest_connected, warm


def search(edges: list[tuple[int, int]], num_nodes: int) -> list[int]:
    near: dict[int, set[int]] = {node: set() for node in range(num_nodes)}
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    smallest = [-1] * num_nodes
    for start in range(num_nodes):
        reached = [start] if smallest[start] < 0 else []
        while reached:
            node = reached.pop()
            if smallest[node] < 0:
                smallest[node] = start
                reached.extend(near[node])
    return smallest


def connect(edges: list[tuple[int, int]], num_nodes: int) -> list[int]:
    pairs = np.array(edges, np.int64).reshape(len(edges), 2)
    return smallest_connected(pairs[:, 0].copy(), pairs[:, 1].copy(), num_nodes=num_nodes).tolist()


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    num_nodes = draw(st.integers(1, 30))
    node = st.integers(0, num_nodes - 1)
    return draw(st.lists(st.tuples(node, node), max_size=40)), num_nodes


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_equals_a_search(graph: tuple[list[tuple[int, int]], int]) -> None:
    edges, num_nodes = graph
    assert connect(edges, num_nodes) == search(edges, num_nodes)


def test_no_edge_leaves_every_node_alone() -> None:
    assert connect([], 4) == [0, 1, 2, 3]
    assert connect([], 0) == []


def test_long_paths_in_the_worst_order_stay_fast() -> None:
    """A path of 300,000 nodes, each edge hanging the tree so far below a smaller root: quadratic without halving."""
    nodes = np.arange(300_000, dtype=np.int64)
    for left, right in ((nodes[:-1], nodes[1:]), (nodes[-2::-1].copy(), nodes[:0:-1].copy())):
        assert (smallest_connected(left, right, num_nodes=len(nodes)) == 0).all()


def test_warm_compiles_it() -> None:
    warm()
    assert len(components._unite.signatures) >= 1
