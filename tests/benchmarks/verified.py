"""Near-duplicates of made-up texts from band keys to marks: pages of one template, and documents that are all the same.

    python -m tests.benchmarks.verified [PAGES]    CPU microseconds a document, and the memory that the process has had

Signatures and sets are made before the clock starts; what is timed are buckets, comparisons and the election.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.edges import KEY_END, buckets_in_range, edges_in_range, sorted_column
from dolma_pipeline.dedup.minhash import Sets, band_keys, estimate_jaccard, low_bytes, shingle_sets, signed_texts
from dolma_pipeline.dedup.stars import elect_stars
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.sets import compare
from dolma_pipeline.kernels.warm import warm

BANDS, ROWS, THRESHOLD, MARGIN = 14, 8, 0.8, 0.16
BATCH = 5_000


def pages(count: int, *, fixed: int, own: int, seed: int) -> list[str]:
    """Pages of one template: `fixed` words that all have, `own` that each has alone."""
    rng = np.random.default_rng(seed)
    head = " ".join(f"w{number}" for number in rng.integers(0, 50_000, fixed))
    return [f"{head} {' '.join(f'w{n}' for n in row)}" for row in rng.integers(0, 50_000, (count, own))]


def measured(name: str, texts: list[str]) -> dict[str, float]:
    """What these documents cost; prints a line of it on stderr."""
    keys, low, same, values, sizes = [], [], [], [], []
    for first in range(0, len(texts), BATCH):
        batch = Batch.of(texts[first : first + BATCH])
        signed = signed_texts(batch, num_perm=BANDS * ROWS)
        sets = shingle_sets(batch.text)
        keys.append(band_keys(signed.minima, bands=BANDS, rows=ROWS))
        low.append(low_bytes(signed.minima))
        same.append(signed.same)
        values.append(sets.values)
        sizes.append(np.diff(sets.starts))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes))])
    whole = Sets(np.concatenate(values), starts, np.zeros(len(texts), np.bool_))
    all_keys, all_low, all_same = np.concatenate(keys), np.concatenate(low), np.concatenate(same)
    start = time.process_time()
    kept, pairs, rounds = decided(all_keys, all_low, all_same, whole)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"{name}: {len(texts):,} documents, {len(texts) - kept:,} go in {rounds} rounds, {pairs / len(texts):.2f} "
        f"pairs and {1e6 * seconds / len(texts):.2f} us a document, peak {peak:,.0f} MB, signatures and sets included",
        file=sys.stderr,
    )
    removed = len(texts) - kept
    return {"documents": len(texts), "removed": removed, "rounds": rounds, "pairs": pairs, "cpu_s": seconds}


def decided(
    keys: NDArray[np.uint64], low: NDArray[np.uint8], same: NDArray[np.uint64], sets: Sets
) -> tuple[int, int, int]:
    """How many documents stay, pairs that were asked for, rounds."""
    rows = np.arange(len(keys), dtype=np.uint32)
    order = np.lexsort((rows, same[:, 1], same[:, 0]))
    column = same[order, 0], rows[order]
    home = np.arange(len(keys))
    copies = edges_in_range([column], [0], 0, KEY_END, second=[same[order, 1]])
    home[copies[:, 1]] = copies[:, 0]
    buckets, members = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for band in range(BANDS):
        column = sorted_column(keys[:, band].copy(), rows)
        found = buckets_in_range([column], [0], 0, KEY_END, same=[same[column[1]]])
        hubs = np.unique(found[:, 0])
        buckets += [found[:, 0] + band * len(keys), hubs + band * len(keys)]
        members += [found[:, 1], hubs]
    pairs = 0

    def like(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        nonlocal pairs
        likeness = np.full(len(left), np.nan)
        for first in range(0, len(left), 8192):
            a, b = left[first : first + 8192], right[first : first + 8192]
            some = np.flatnonzero(estimate_jaccard(low[a], low[b]) >= THRESHOLD - MARGIN)
            found = compare(sets.values, sets.starts, sets.cut, a[some], b[some], containment=False)
            likeness[first + some] = found
            pairs += len(some)
        return likeness

    stars = elect_stars(
        home,
        np.concatenate(buckets),
        np.concatenate(members),
        candidate=np.ones(len(keys), np.bool_),
        place=np.arange(len(keys)),
        compare=like,
        threshold=THRESHOLD,
    )
    return int((stars.keeper == np.arange(len(keys))).sum()), pairs, stars.rounds


def main() -> None:
    """Measure all three."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    warm(["minhash", "sets"])
    measured("a template, J 0.70", pages(count, fixed=180, own=36, seed=1))
    measured("a template, J 0.83", pages(count, fixed=180, own=16, seed=2))
    measured("identical", pages(1, fixed=100, own=0, seed=3) * (10 * count))


if __name__ == "__main__":
    main()
