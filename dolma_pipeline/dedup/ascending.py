"""Hashes in ascending order: by a kernel where there are many, by numpy where loading the kernel would cost more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MANY = 1 << 14
"""Keys that take the kernel; loading it takes as long as numpy takes for some million of them."""


def ascending(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.integer[Any]]]:
    """Keys in ascending order, uint64[n], and the number of each among those given, int[n]; equal keys by number.

    Args:
        keys: in any order, uint64[n]; fewer than 2^32.
    """
    if len(keys) < MANY:
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    from dolma_pipeline.kernels.sorting import sorted_keys

    return sorted_keys(keys)
