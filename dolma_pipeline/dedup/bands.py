"""Which bands a threshold needs: the chance that a pair is looked at, and the best shape for a budget of bytes.

A pair of Jaccard j has an equal key in one of `bands` bands of `rows` minima with chance 1 - (1 - j^rows)^bands. The
best shape makes the area under it below the threshold (pairs looked at in vain), and above it below 1 (pairs missed),
smallest together: the measure of datasketch's MinHashLSH, the tests' oracle.
Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from dolma_pipeline.errors import UsageError

LEAST_CHANCE = 0.25
"""A pair just at the threshold must be looked at with at least this chance, or the threshold is out of reach."""
KEY_BYTES = 12
"""Of a band: a key of 64 bits and a row of 32."""
MOST_MINIMA = 512
"""Of a shape that is solved for."""
_STEPS = 1000


def chance(jaccard: float, *, bands: int, rows: int) -> float:
    """The chance that two texts of this Jaccard share a key."""
    return float(1 - (1 - jaccard**rows) ** bands)


def signature_bytes(*, bands: int, rows: int) -> int:
    """Bytes of a document's keys, rows and low bytes."""
    return bands * (KEY_BYTES + rows)


@cache
def solved(threshold: float, budget: int) -> tuple[int, int]:
    """Bands and rows, the best for a threshold among those of at most so many bytes a document.

    Raises:
        UsageError: the budget is too small for any.
    """
    shapes = [
        (bands, rows)
        for bands in range(1, budget // (KEY_BYTES + 1) + 1)
        for rows in range(1, budget // bands - KEY_BYTES + 1)
        if bands * rows <= MOST_MINIMA
    ]
    if not shapes:
        raise UsageError(f"{budget} bytes hold no band; the smallest signature has {KEY_BYTES + 1}.")
    return best(threshold, shapes)


def best(threshold: float, shapes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The best of some shapes (bands, rows) for a threshold; of several the first."""
    import numpy as np

    middles = (np.arange(_STEPS) + 0.5) / _STEPS
    below, above = middles * threshold, threshold + middles * (1 - threshold)

    def area(shape: tuple[int, int]) -> float:
        bands, rows = shape
        vain = threshold * (1 - (1 - below**rows) ** bands).mean()
        missed = (1 - threshold) * ((1 - above**rows) ** bands).mean()
        return float(vain + missed)

    return min(shapes, key=area)


def check_reach(threshold: float, *, bands: int, rows: int) -> None:
    """A pair just at the threshold must have a fair chance to be looked at.

    Raises:
        UsageError: it has not; says the chance, and which bands of about as many bytes would do.
    """
    found = chance(threshold, bands=bands, rows=rows)
    if found >= LEAST_CHANCE:
        return
    better = solved(threshold, signature_bytes(bands=bands, rows=rows))
    if chance(threshold, bands=better[0], rows=better[1]) < LEAST_CHANCE:
        cure = "Raise `threshold`, or give more bands."
    else:
        cure = f"Take {better[0]} bands of {better[1]} rows, or raise `threshold`."
    raise UsageError(
        f"{bands} bands of {rows} rows look at {found:.3f} of the pairs at {threshold:g}, below {LEAST_CHANCE:g}: "
        f"too few of them would be found. {cure}"
    )
