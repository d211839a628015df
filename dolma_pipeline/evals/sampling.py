"""Which id comes next: the likeliest, or one drawn by a key.

A draw depends on the seed, the prompt's key, the number of the sample and the position alone, never on what else is
computed with it (beyond the rounding of probabilities). Source of top_p: Holtzman et al. 2020 (arXiv 1904.09751),
section 3.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dolma_pipeline.errors import UsageError


class Text(NamedTuple):
    """What the draws of a text depend on. key: of its prompt. sample: which of the prompt's texts it is, from 0."""

    key: str
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next id is chosen.

    temperature: 0 takes the likeliest id, the lowest among equals. top_p: draws are from the likeliest ids that
    together have at least this probability. seed: of the draws.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: str = "0"

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UsageError(f"temperature is {self.temperature}; it must be 0 or more.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; it must be above 0 and at most 1.")

    def choose(self, logits_RV: Tensor, texts: list[Text], *, position: int) -> list[int]:
        """The next id of each text, a row of logits each; position: how many ids were written before."""
        if self.temperature == 0:
            return [int(i) for i in logits_RV.argmax(dim=-1).tolist()]
        # Below the largest first: divided by a tiny temperature they would overflow.
        below_RV = logits_RV.double() - logits_RV.double().amax(dim=-1, keepdim=True)
        probabilities_RV = (below_RV / self.temperature).softmax(-1).cpu().numpy()
        draws = [uniform(self.seed, text, position) for text in texts]
        return [drawn(row, draw, top_p=self.top_p) for row, draw in zip(probabilities_RV, draws, strict=True)]


def drawn(probabilities: NDArray[np.float64], draw: float, *, top_p: float) -> int:
    """The id that a number from 0 to 1 (without it) stands for; the likeliest come first, the lower id among equals."""
    order = np.argsort(-probabilities, kind="stable")
    upto = probabilities[order].cumsum()
    upto = upto[: int(np.searchsorted(upto, top_p * upto[-1])) + 1]
    return int(order[np.searchsorted(upto, draw * upto[-1], side="right")])


def uniform(seed: str, text: Text, position: int) -> float:
    """A number from 0 to 1 (without it) that depends on its arguments alone."""
    digest = hashlib.sha256(f"{seed}\0{text.key}\0{text.sample}\0{position}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53
