"""From keys to edges without a shuffle: each shard keeps its keys sorted, a reducer reads a slice of all.

A reducer owns a range of keys of one band. It takes from every shard's sorted column the contiguous slice in
its range (two binary searches, so columns may be memory maps), and documents with equal keys become a star of
edges around the smallest. Nothing crosses a shuffle and the outcome depends on no order.
Cost: ~10 M keys a CPU-second, sorting in the shards included; memory ~42 bytes a key of the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.ascending import ascending
from dolma_pipeline.errors import UsageError

KEY_END = 2**64
"""One past the greatest key."""

Column = tuple[NDArray[np.uint64], NDArray[np.uint32]]
"""Keys of a shard in ascending order, and the row of each."""


def sorted_column(keys: NDArray[np.uint64], rows: NDArray[np.uint32]) -> Column:
    """The keys (uint64[n]) in ascending order with their rows (uint32[n], ascending); equal keys by row."""
    keys, order = ascending(keys)
    return keys, rows[order]


def _tied(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of some sorted keys are equal to a neighbour."""
    tied = np.zeros(len(keys), np.bool_)
    equal = keys[1:] == keys[:-1]
    tied[1:] |= equal
    tied[:-1] |= equal
    return tied


def key_ranges(num_ranges: int) -> list[tuple[int, int]]:
    """`num_ranges` ranges (first, one past the last) of equal width that cover all keys; the last ends at 2^64."""
    if num_ranges < 1:
        raise UsageError(f"keys are split into at least 1 range, got {num_ranges}.")
    bounds = [KEY_END * i // num_ranges for i in range(num_ranges + 1)]
    return list(pairwise(bounds))


def edges_in_range(
    columns: Sequence[Column],
    offsets: Sequence[int],
    lo: int,
    hi: int,
    *,
    second: Sequence[NDArray[np.uint64]] | None = None,
) -> NDArray[np.int64]:
    """Edges between the rows whose keys are equal and in lo <= key < hi.

    Args:
        columns: of each shard, as `sorted_column` gives them.
        offsets: dense number of each shard's row 0.
        lo: smallest key.
        hi: one past the greatest key, up to 2^64.
        second: of each shard, in the order of its column: more bits of each key, which must be equal too.

    Returns:
        int64[k, 2]: dense numbers (smaller, greater) from the smallest row of each key to each other one, sorted.
    """
    key, node, more = _slices(columns, offsets, lo, hi, second or [])
    key, order = ascending(key)
    some = _tied(key)
    key, order = key[some], order[some]
    node = node[order]
    opens = np.ones(len(node), np.bool_)  # where a group of equal keys starts
    opens[1:] = key[1:] != key[:-1]
    if second is not None:
        rest = more[order]
        order = np.lexsort((rest, key))
        node, rest = node[order], rest[order]
        opens[1:] |= rest[1:] != rest[:-1]  # `key` was sorted before, so its groups lie where they lay
    starts = np.flatnonzero(opens)
    hubs = np.minimum.reduceat(node, starts)[np.cumsum(opens) - 1] if len(node) else node
    edges: NDArray[np.int64] = np.stack([hubs, node], axis=1)[hubs != node]
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def buckets_in_range(
    columns: Sequence[Column], offsets: Sequence[int], lo: int, hi: int, *, same: Sequence[NDArray[np.uint64]]
) -> NDArray[np.int64]:
    """Rows whose keys are equal and in lo <= key < hi, of which those of the same words count as one, their smallest.

    Args:
        columns, offsets, lo, hi: as of `edges_in_range`.
        same: of each shard, in the order of its column: uint64[k, 2], a hash of the row's words; rows of equal words
            have equal keys.

    Returns:
        int64[k, 2]: (smallest row of the bucket, row), sorted; the smallest itself is not repeated, and a bucket of
        one row after that is none.
    """
    key, node, words = _slices(columns, offsets, lo, hi, same or [], width=2)
    sorted_key, order = ascending(key)
    order = order[_tied(sorted_key)]
    order = order[np.lexsort((node[order], words[order, 1], words[order, 0], key[order]))]
    key, node, words = key[order], node[order], words[order]
    opens = np.ones(len(node), np.bool_)
    opens[1:] = (key[1:] != key[:-1]) | (words[1:] != words[:-1]).any(axis=1)
    key, node = key[opens], node[opens]  # the smallest of each group of the same words
    starts = np.flatnonzero(np.diff(key, prepend=key[:1] + np.uint64(1)))
    hubs = np.minimum.reduceat(node, starts) if len(node) else node
    hubs = np.repeat(hubs, np.diff(starts, append=len(node)))
    found: NDArray[np.int64] = np.stack([hubs, node], axis=1)[hubs != node]
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _slices(
    columns: Sequence[Column],
    offsets: Sequence[int],
    lo: int,
    hi: int,
    more: Sequence[NDArray[np.uint64]],
    width: int = 1,
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint64]]:
    """Keys, dense numbers and what else there is of the rows of all shards in a range."""
    keys, nodes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    others = [np.zeros(0 if width == 1 else (0, width), np.uint64)]
    for shard, ((shard_keys, shard_rows), offset) in enumerate(zip(columns, offsets, strict=True)):
        first = int(np.searchsorted(shard_keys, np.uint64(lo)))
        last = len(shard_keys) if hi >= KEY_END else int(np.searchsorted(shard_keys, np.uint64(hi)))
        keys.append(shard_keys[first:last])
        nodes.append(shard_rows[first:last].astype(np.int64) + offset)
        if more:
            others.append(more[shard][first:last])
    return np.concatenate(keys), np.concatenate(nodes), np.concatenate(others)
