"""Clusters: the connected components of the edges between documents.

Only documents that have an edge are held. Cost: ~0.4 us of CPU and ~46 bytes an edge beside the edges themselves,
most of it for numbering the nodes, so one worker carries some 10^8 edges. scipy's `connected_components` is the
tests' oracle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError


def components(edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The connected components of some edges, the same for any order or direction of them.

    Args:
        edges: int64[k, 2]; repeats and self-loops change nothing.

    Returns:
        nodes: int64[m], every node of an edge once, ascending.
        labels: int64[m], the smallest node of each node's component.

    Raises:
        DataError: edges that are not pairs.
    """
    from dolma_pipeline.kernels.components import smallest_connected

    if edges.ndim != 2 or edges.shape[1] != 2:
        raise DataError(f"edges must be pairs of nodes, an array of shape (k, 2), found {edges.shape}.")
    nodes = np.unique(edges)
    left, right = np.searchsorted(nodes, edges[:, 0]), np.searchsorted(nodes, edges[:, 1])
    return nodes, nodes[smallest_connected(left, right, num_nodes=len(nodes))]


MOST_ROUNDS = 20
"""Rounds of `connected` before the kernel is loaded after all: clusters that hang together in long chains."""


def connected(
    members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]], nodes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The smallest number of all that some steps' clusters connect with each document: int64[n].

    As `components` gives it, but the kernel costs a second to load. Here every cluster takes the smallest number of its
    documents, step by step, until none changes: clusters of two steps seldom hang together in chains.

    Args:
        members: step -> documents of its clusters, and a label of each cluster's own. nodes: all of them, ascending.
    """
    found = nodes.copy()
    steps = []
    for own, labels in members.values():
        order = np.argsort(labels, kind="stable")
        firsts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        steps.append((np.searchsorted(nodes, own[order]), firsts, np.diff(firsts, append=len(own))))
    for _ in range(MOST_ROUNDS):
        before = found.copy()
        for at, firsts, sizes in steps:
            if len(at):
                found[at] = np.repeat(np.minimum.reduceat(found[at], firsts), sizes)
        if np.array_equal(found, before):
            return found
    return components(np.concatenate([np.stack(pair[::-1], axis=1) for pair in members.values()]))[1]
