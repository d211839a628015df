"""Where the shuffled order of documents is cut into parts: known from keys and counts, before a part is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError

ORDER = "order"
"""Purpose of the keys of the shuffle: other ones than those by which a mix draws documents, or what it draws from a
source that it cuts would stand at the front of the shards."""


def cut_points(keys: NDArray[np.uint64], tokens: NDArray[np.int64], *, max_tokens: int) -> NDArray[np.uint64]:
    """Where to cut the keyed order into parts.

    Parts are filled in the order of the keys; each holds at most `max_tokens`, unless one document alone (or
    documents of one and the same key, which a part never divides) is longer.

    Args:
        keys: of all documents, in any order, uint64[n].
        tokens: ids of each, EOS included, int64[n]. Memory: 40 bytes a document while it runs.
        max_tokens: of a part.

    Returns:
        uint64[parts - 1], ascending: the first key of every part but the first.
    """
    if max_tokens < 1:
        raise UsageError(f"parts of at most {max_tokens} tokens: at least 1 is needed")
    order = np.argsort(keys)
    ascending = keys[order]
    first_of_key = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(keys)])
    unique = ascending[first_of_key]
    ends = np.cumsum(np.add.reduceat(tokens[order], first_of_key)) if len(keys) else np.zeros(0, np.int64)
    cuts: list[int] = []
    first = 0
    while first < len(unique):
        before = int(ends[first - 1]) if first else 0
        first = max(int(np.searchsorted(ends, before + max_tokens, side="right")), first + 1)
        cuts.append(first)
    return unique[cuts[:-1]]


def part_of(keys: NDArray[np.uint64], cuts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The part of each key: int64[n], 0 to `len(cuts)`."""
    return np.searchsorted(cuts, keys, side="right").astype(np.int64)
