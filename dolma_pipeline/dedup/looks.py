"""What people should look at after near-duplicates were marked, and what is warned of. Arrays in, plain JSON out.

The limits are those at which a look has paid: a source of one template, an order that keeps the wrong copy and bands
that are too wide show in these numbers first. Cost: some sorts of the documents that went, ~0.5 us each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_STARS = 20
"""Of the largest stars that are told."""
BIN = 0.05
"""Width of a bin of the histogram of likeness."""
STEP = 0.05
"""How far beside the threshold a look goes."""
FEW_SHINGLES = 8
"""Below so many a likeness goes in large steps."""
FEW_DOCUMENTS = 100
"""Of fewer documents no share is warned of: it tells nothing."""

SHARE, LOUD_SHARE = 0.2, 0.5
STAR, STAR_SHARE, STAR_LEAST = 1_000, 0.01, 20
NEAR_SHARE = 1 / 3
YIELD, YIELD_PAIRS = 0.25, 100_000
ANCHOR_SHARE, ANCHOR_LEAST = 0.001, 10
FEW_SHARE = 0.1
MOST_RATIO = 2.0


class Sources(NamedTuple):
    """The sources of a run in the order of their documents' numbers. names; first: int64[k + 1], of each its first
    number, at last the number of all documents."""

    names: Sequence[str]
    first: NDArray[np.int64]

    def of(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which source each document is of: int64[n]."""
        return np.searchsorted(self.first, nodes, side="right") - 1


def by_source(sources: Sources, gone: NDArray[np.int64]) -> dict[str, Any]:
    """Source -> `documents`, `removed`, `share`; gone: by number."""
    removed = np.bincount(sources.of(gone), minlength=len(sources.names))
    documents = np.diff(sources.first)
    return {
        name: {"documents": int(n), "removed": int(k), "share": round(int(k) / int(n), 6) if n else 0.0}
        for name, n, k in zip(sources.names, documents, removed, strict=True)
    }


def largest_stars(keepers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The documents for which most others went, by number, and how many; of several the first. Two of int64[k].

    Args:
        keepers: of each document that went, whom it went for.
    """
    nodes, counts = np.unique(keepers, return_counts=True)
    order = np.lexsort((nodes, -counts))[:NUM_STARS]
    return nodes[order], counts[order]


def histogram(likeness: NDArray[np.float64]) -> dict[str, int]:
    """Lower end of a bin (`0.80`) -> documents that went with a likeness from there on; `1.00` is a bin of its own."""
    bins, counts = np.unique(np.floor(likeness / BIN + 1e-9).astype(np.int64), return_counts=True)
    return {f"{b * BIN:.2f}": int(n) for b, n in zip(bins, counts, strict=True)}


def anchors_like_an_earlier(
    left: NDArray[np.int64], right: NDArray[np.int64], gone: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Documents that stay though an earlier one that stays is like them: another one had gone for them before.

    Args:
        left, right: pairs that were found alike, the earlier first. gone: ascending.
    """
    there = ~(_is_in(left, gone) | _is_in(right, gone))
    return np.unique(right[there])


def _is_in(values: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the values are among some, ascending."""
    if len(some) == 0:
        return np.zeros(len(values), np.bool_)
    found: NDArray[np.bool_] = some[np.minimum(np.searchsorted(some, values), len(some) - 1)] == values
    return found


def lengths(
    shingles: NDArray[np.int64], of_keepers: NDArray[np.int64], likeness: NDArray[np.float64], *, shingle: int
) -> dict[str, Any]:
    """What the lengths of documents that went and of those that stay for them say.

    Args:
        shingles, of_keepers: of each pair, repeats counted. likeness: of each pair. shingle: words in one.

    Returns:
        few_shingles: that went with fewer than `FEW_SHINGLES` and a likeness below 1. other_length: of more than twice
        or less than half the words. greatest_ratio: of words.
    """
    some = (shingles >= FEW_SHINGLES) & (of_keepers >= FEW_SHINGLES)
    words = np.stack([shingles[some], of_keepers[some]]) + (shingle - 1)
    ratio = words.max(axis=0) / words.min(axis=0) if some.any() else np.ones(0)
    return {
        "few_shingles": int(((shingles < FEW_SHINGLES) & (likeness < 1)).sum()),
        "other_length": int((ratio > MOST_RATIO).sum()),
        "greatest_ratio": round(float(ratio.max(initial=1.0)), 3),
    }


def warnings_of(looks: Mapping[str, Any]) -> list[str]:
    """What is to be told of a step's looks, a sentence each; none where all is as on honest data."""
    found = [
        told for name, one in looks["sources"].items() if (told := _of_share(name, one["documents"], one["removed"]))
    ]
    sizes = {name: one["documents"] for name, one in looks["sources"].items()}
    stars = [one for one in looks["largest_stars"] if _is_large(one["removed"], sizes[one["source"]])]
    if stars:
        found.append(
            f"{stars[0]['removed']:,} documents go for {stars[0]['keeper']} alone ({len(stars)} such): a template, or "
            "pages with little text of their own? Compare some of them with it."
        )
    removed = sum(one["removed"] for one in looks["sources"].values())
    if "likeness" in looks:
        found += _of_likeness(looks, removed)
    return found


def _of_share(source: str, documents: int, removed: int) -> str:
    if documents < FEW_DOCUMENTS or removed <= SHARE * documents:
        return ""
    told = (
        f"{removed:,} of {documents:,} documents of source '{source}' ({removed / documents:.0%}) are marked as copies"
    )
    if removed > LOUD_SHARE * documents:
        return (
            f"MORE THAN HALF OF A SOURCE: {told}. Do not drop them before you have looked at some with their keepers."
        )
    return f"{told}. Look at some with their keepers before you drop them."


def _is_large(removed: int, documents: int) -> bool:
    return removed > STAR or removed > max(STAR_LEAST, STAR_SHARE * documents)


def _of_likeness(looks: Mapping[str, Any], removed: int) -> list[str]:
    found = []
    pairs, threshold = looks["pairs"], looks["threshold"]
    if pairs["compared"] >= YIELD_PAIRS and pairs["alike"] < YIELD * pairs["compared"]:
        found.append(
            f"only {pairs['alike']:,} of {pairs['compared']:,} compared pairs are alike: nothing is wrong, but bands "
            "of more rows, or a look at the templates among the documents, would save time."
        )
    if removed >= FEW_DOCUMENTS and looks["near_threshold"] > NEAR_SHARE * removed:
        found.append(
            f"{looks['near_threshold']:,} of {removed:,} went with a likeness below {threshold + STEP:.2f}: the "
            f"threshold stands on a slope. At {', '.join(_beside(looks))}."
        )
    anchors = looks["anchors_like_an_earlier"]
    if anchors >= ANCHOR_LEAST and anchors > ANCHOR_SHARE * looks["documents"]:
        found.append(
            f"{anchors:,} documents stay though an earlier one that stays is like them. More bands of fewer rows find "
            "such pairs in time: docs/deduplication.md."
        )
    if removed >= FEW_DOCUMENTS and looks["few_shingles"] > FEW_SHARE * removed:
        found.append(
            f"{looks['few_shingles']:,} of {removed:,} went with fewer than {FEW_SHINGLES} shingles and are not of the "
            "same words: these texts are too short for shingles of so many words."
        )
    if looks["verify"] == "jaccard" and looks["other_length"]:
        found.append(
            f"{looks['other_length']:,} went for a document of more than {MOST_RATIO:.0f} times their words, or of "
            f"less than half (at most {looks['greatest_ratio']} times): likeness forgets repeats."
        )
    return found


def _beside(looks: Mapping[str, Any]) -> list[str]:
    return [
        f"{threshold} {'' if one['exact'] else 'about '}{one['removed']:,} would go"
        for threshold, one in looks["thresholds"].items()
    ]
