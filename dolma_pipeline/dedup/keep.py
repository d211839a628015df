"""Who stays: one row of each cluster, elected among those that could be used at all.

A row is a candidate of a step if it passes the rules and every earlier step kept it; a cluster keeps its first
candidate in the preferred order, and nobody if it has none. So
  1. a step keeps at most one row of a cluster, exactly one if the cluster has a candidate;
  2. rows that are joined by clusters of any steps, one of which passes the rules, keep at least one row that
     passes and that every step keeps (if a step drops a candidate, it keeps another candidate of its cluster);
  3. exactly one, if clusters are nested: each cluster of a step lies whole within one cluster of the next step,
     or whole outside of all of them, as exact copies do among near copies.
Clusters come from text alone and never change here: other rules or another order mean another election only.
Cost: one sort of the rows that are in clusters, ~0.5 us each; nothing is read again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import MisalignedError

NO_CLUSTER = -1


class Election(NamedTuple):
    """The outcome for n rows.

    `size` (int64): members of the row's cluster. `rank` (int64): its place in it, 0 is first; candidates come
    before others, then the preferred order decides. `keep` (bool): first in its cluster and a candidate; a row
    without duplicates (no cluster, or alone in one) has size 1, rank 0 and is kept whatever the rules say, for
    those drop it themselves.
    """

    size: NDArray[np.int64]
    rank: NDArray[np.int64]
    keep: NDArray[np.bool_]


def elect(cluster: NDArray[np.int64], candidate: NDArray[np.bool_], order: NDArray[np.int64]) -> Election:
    """Elects the keeper of each cluster.

    Args:
        cluster: label of each row's cluster, int64[n]; -1: in none.
        candidate: bool[n], whether the row may be a keeper.
        order: place of each row in the preferred order, smallest first, no two the same, int64[n].

    Raises:
        MisalignedError: columns of different lengths.
    """
    if not len(cluster) == len(candidate) == len(order):
        raise MisalignedError(
            f"clusters of {len(cluster)} rows, candidates of {len(candidate)}, an order of {len(order)}; "
            "they must be of the same rows."
        )
    size = np.ones(len(cluster), np.int64)
    rank = np.zeros(len(cluster), np.int64)
    keep = np.ones(len(cluster), np.bool_)
    members = np.flatnonzero(cluster != NO_CLUSTER)
    members = members[np.lexsort((order[members], ~candidate[members], cluster[members]))]
    labels = cluster[members]
    firsts = np.flatnonzero(np.concatenate([np.ones(min(1, len(labels)), np.bool_), labels[1:] != labels[:-1]]))
    sizes = np.diff(firsts, append=len(labels))
    size[members] = np.repeat(sizes, sizes)
    rank[members] = np.arange(len(labels)) - np.repeat(firsts, sizes)
    keep[members] = (size[members] == 1) | ((rank[members] == 0) & candidate[members])
    return Election(size, rank, keep)
