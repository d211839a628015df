"""What was decided of earlier documents, and is not decided again: they come first, whatever else the order is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Settled(NamedTuple):
    """Verdicts of earlier elections, of n documents.

    old (bool): whether a document was judged before; of others the rest says nothing. keep (bool). keeper (int64): whom
    it went for, itself if for nobody. jaccard (float64): how like that one it is.
    """

    old: NDArray[np.bool_]
    keep: NDArray[np.bool_]
    keeper: NDArray[np.int64]
    jaccard: NDArray[np.float64]

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Earlier documents that went."""
        return self.old & ~self.keep


def nothing_settled(n: int) -> Settled:
    """Of n documents none of which was judged before."""
    return Settled(np.zeros(n, np.bool_), np.ones(n, np.bool_), np.arange(n), np.ones(n))
