"""pass@k: how likely it is that of k programs that a model writes for an item at least one passes its tests."""

from __future__ import annotations

import math


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """The unbiased estimate from more samples than k, for one item (Chen et al. 2021, arXiv 2107.03374, eq. 1).

    One minus the share of the draws of k of the samples, without putting back, that hold none that passed.

    Raises:
        ValueError: not 1 <= k <= num_samples, or not 0 <= num_passed <= num_samples.
    """
    if not 1 <= k <= num_samples or not 0 <= num_passed <= num_samples:
        raise ValueError(f"num_samples={num_samples}, num_passed={num_passed}, k={k}")
    draws = math.comb(num_samples, k)
    return (draws - math.comb(num_samples - num_passed, k)) / draws
