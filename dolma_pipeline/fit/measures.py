"""What scores are worth: areas under ROC curves, precision and recall, and what of it the source alone would tell.

Arrays in, numbers out; ties count half everywhere. Cost: a sort of the scores.
Sources: Mann and Whitney 1947; Hanley and McNeil 1982 (the AUC is the chance that a positive document has the higher
score); Somers 1962, "A new asymmetric measure of association for ordinal variables" (D is 2 AUC - 1 where one variable
is a label of two values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Scores at which is counted what a rule `score >= threshold` keeps."""

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


def auc(scores: Scores, labels: Labels) -> float | None:
    """The chance that a positive document has a higher score than a negative one, ties counting half.

    Args:
        scores: float64[n]. labels: bool[n], True of positive documents.

    Returns:
        0 to 1, or None where there are documents of one label only: then nothing is to be told apart.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    ranks = last - (sizes - 1) / 2  # documents of one score share the mean of their ranks, from 1
    return float((ranks[group][labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


@dataclass(frozen=True)
class Within:
    """How scores follow the label inside one source.

    documents, positive: how many, and how many of them are positive. auc: None where all have one label.
    """

    source: str
    documents: int
    positive: int
    auc: float | None

    @property
    def rank_correlation(self) -> float | None:
        """Somers' D of score and label, -1 to 1: 0 where the score tells nothing."""
        return None if self.auc is None else 2 * self.auc - 1


def within_sources(scores: Scores, labels: Labels, sources: Sequence[str]) -> list[Within]:
    """How scores follow the label inside each source, by name."""
    names, codes = _coded(sources)
    found = []
    for code, name in enumerate(names):
        some = codes == code
        found.append(Within(name, int(some.sum()), int(labels[some].sum()), auc(scores[some], labels[some])))
    return found


def pooled_rank_correlation(within: Sequence[Within]) -> float | None:
    """Somers' D over pairs of one source only: the mean of the sources', each by its pairs of unlike labels.

    Returns:
        -1 to 1, or None where no source has both labels.
    """
    pairs, total = 0, 0.0
    for one in within:
        if one.rank_correlation is not None:
            number = one.positive * (one.documents - one.positive)
            pairs, total = pairs + number, total + number * one.rank_correlation
    return total / pairs if pairs else None


def source_scores(learned: Mapping[tuple[str, int], int], sources: Sequence[str]) -> Scores:
    """What the name of the source alone says of documents: the share of positive ones among those learned from.

    Laplace's rule of succession, (positive + 1) / (documents + 2); 0.5 of a source that was not there.

    Args:
        learned: source and label (0 is positive) -> documents that were learned from. sources: of those to be scored.
    """
    found = []
    for source in sources:
        positive, negative = learned.get((source, 0), 0), learned.get((source, 1), 0)
        found.append((positive + 1) / (positive + negative + 2))
    return np.array(found, np.float64)


@dataclass(frozen=True)
class Threshold:
    """What `score >= threshold` keeps.

    documents, num_bytes: kept. precision: share of positive ones among them, None where nothing is kept. recall: share
    of the positive documents that is kept. by_source: source -> documents, bytes.
    """

    threshold: float
    documents: int
    num_bytes: int
    precision: float | None
    recall: float
    by_source: dict[str, tuple[int, int]]


def thresholds(
    scores: Scores, labels: Labels, sizes: NDArray[np.int64], sources: Sequence[str], at: Sequence[float] = THRESHOLDS
) -> list[Threshold]:
    """What each threshold keeps of documents, of which one at least is positive.

    Args:
        sizes: bytes of each, int64[n].
    """
    names, codes = _coded(sources)
    positive = int(labels.sum())
    found = []
    for threshold in at:
        kept = scores >= threshold
        documents, right = int(kept.sum()), int((kept & labels).sum())
        counts = np.bincount(codes[kept], minlength=len(names))
        bytes_of = [int(sizes[kept & (codes == code)].sum()) for code in range(len(names))]
        found.append(
            Threshold(
                threshold,
                documents,
                int(sizes[kept].sum()),
                right / documents if documents else None,
                right / positive,
                {name: (int(counts[code]), bytes_of[code]) for code, name in enumerate(names)},
            )
        )
    return found


def _coded(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The names, each once and sorted, and which of them each is."""
    found = sorted(set(names))
    places = {name: place for place, name in enumerate(found)}
    return found, np.fromiter((places[name] for name in names), np.int64, len(names))
