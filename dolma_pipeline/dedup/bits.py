"""A hash of 64 bits over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection in which every bit depends on every bit, uint64[n]; `kernels.hashing.mix` is it of one number.

    Source: the finalizer of SplitMix64, Steele, Lea and Flood 2014.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
