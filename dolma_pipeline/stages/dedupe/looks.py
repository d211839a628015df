"""The looks of a dedupe step, from what its election holds anyway; they stand in the manifest of its column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup import looks
from dolma_pipeline.dedup.looks import Sources
from dolma_pipeline.dedup.stars import Compare, elect_stars
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.dedupe.earlier import Earlier
from dolma_pipeline.stages.dedupe.election import Elected, Near
from dolma_pipeline.stages.dedupe.likeness import Known
from dolma_pipeline.stages.dedupe.origins import origins_of

BY_ESTIMATE = "by_estimate"
"""Of looks: how many pairs were judged by their signatures alone, how many documents went so; of `earlier`: how many
of the new ones."""


@dataclass
class Recorded:
    """Compares as `compare` does, and keeps what it said: 24 bytes a pair."""

    compare: Compare
    _parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)

    def __call__(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `dedup.stars.Compare`."""
        found = self.compare(left, right)
        self._parts.append((left, right, found))
        return found

    def known(self) -> Known:
        """All that was compared."""
        if not self._parts:
            return Known()
        return Known().joined(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))


def sources_of(run: Run) -> Sources:
    """The run's sources; the list of shards streams by."""
    rows: dict[str, int] = {}
    for shard in indexed(run):
        rows[shard.source] = rows.get(shard.source, 0) + shard.rows
    return Sources([*rows], np.concatenate([np.zeros(1, np.int64), np.cumsum([*rows.values()], dtype=np.int64)]))


def looks_of(
    run: Run,
    step: DedupeStepConfig,
    elected: Elected,
    *,
    near: Near | None = None,
    known: Known | None = None,
    shingles: NDArray[np.int64] | None = None,
    before: Earlier | None = None,
    guessed: int = 0,
) -> dict[str, Any]:
    """What the manifest of a step's column has under `looks`; docs/data-formats.md tells of each value.

    Args:
        near, known, shingles: of a step that is verified: its buckets, what was compared, and the number of shingles of
            each of the election's documents. before: what stands of earlier elections. guessed: how many of the pairs
            were judged by their signatures alone.
    """
    sources = sources_of(run)
    away = np.flatnonzero(~elected.keep)
    gone, keepers, jaccard = elected.nodes[away], elected.keeper[away], elected.jaccard[away]
    stars, counts = looks.largest_stars(keepers[keepers != gone])
    names = [sources.names[i] for i in sources.of(stars).tolist()]
    found: dict[str, Any] = {
        "sources": looks.by_source(sources, gone),
        "largest_stars": [
            {"keeper": origin, "source": source, "removed": int(count)}
            for origin, source, count in zip(origins_of(run, stars).to_pylist(), names, counts, strict=True)
        ],
    }
    if near is None or known is None or shingles is None:
        return found
    by_estimate = int(np.isnan(jaccard).sum())
    alike = known.likeness >= step.threshold  # NaN is not
    at = np.searchsorted(elected.nodes, keepers)
    return {
        **found,
        "documents": len(elected.nodes),
        "threshold": step.threshold,
        "verify": step.verify,
        "likeness": looks.histogram(jaccard[~np.isnan(jaccard)]),
        "near_threshold": int((jaccard < step.threshold + looks.STEP).sum()),
        "pairs": {"compared": len(known.left), "alike": int(alike.sum())},
        **({BY_ESTIMATE: {"pairs": guessed, "removed": by_estimate}} if guessed or by_estimate else {}),
        "thresholds": {
            f"{threshold:.2f}": _at(near, elected, known, threshold, before)
            for threshold in (step.threshold - looks.STEP, step.threshold + looks.STEP)
            if 0 < threshold <= 1
        },
        "anchors_like_an_earlier": len(
            looks.anchors_like_an_earlier(*_firsts(near, elected, before, known.left[alike], known.right[alike]), gone)
        ),
        **looks.lengths(shingles[away], shingles[at], jaccard, shingle=step.shingle),
    }


def _firsts(
    near: Near, elected: Elected, before: Earlier | None, left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The documents that stand for the words of these ones."""
    from dolma_pipeline.dedup.stars import firsts_of, ranks

    settled = before.at(near.nodes) if before else None
    first = firsts_of(np.searchsorted(near.nodes, near.home), ranks(elected.candidate, elected.place, settled))
    standing = near.nodes[first]
    return standing[np.searchsorted(near.nodes, left)], standing[np.searchsorted(near.nodes, right)]


def _at(near: Near, elected: Elected, known: Known, threshold: float, before: Earlier | None) -> dict[str, Any]:
    """What another threshold would take away, from the pairs that were compared at this one.

    exact: no other pair was asked for, so that the number is that of a run; else pairs that were not are taken as
    unlike, and more may go. What stands of earlier elections stands, which is not what a run with another threshold
    would do, so that no such number is exact.
    """
    left_out = 0

    def compare(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        nonlocal left_out
        found, others = known.fill(near.nodes[left], near.nodes[right])
        left_out += len(others)
        return found

    own = replace(near, threshold=threshold)
    stars = elect_stars(
        np.searchsorted(own.nodes, own.home),
        own.bucket,
        np.searchsorted(own.nodes, own.member),
        candidate=elected.candidate,
        place=elected.place,
        compare=compare,
        threshold=threshold,
        settled=before.at(own.nodes) if before else None,
    )
    removed = int((stars.keeper != np.arange(len(own.nodes))).sum())
    exact = left_out == 0 and not stars.stopped and before is None
    return {"removed": removed, "not_compared": left_out, "exact": exact}
