"""One measurement of verified near-duplicates, in a process of its own: `python verified_once.py WHAT`.

sets: of made-up pages, MB of text a CPU-second. pairs: compared sets of ~200. edges: of an election.
0.70, 0.83: 100,000 pages of one template of this likeness to each other, from band keys to marks. identical: 10^6.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np

from dolma_pipeline.dedup.minhash import shingle_sets
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.sets import compare, elect
from dolma_pipeline.kernels.warm import warm
from tests.benchmarks.verified import measured, pages

PAGES = 100_000
TEMPLATES = {"0.70": {"fixed": 180, "own": 36, "seed": 1}, "0.83": {"fixed": 180, "own": 16, "seed": 2}}
PAIRS, EDGES = 2_000_000, 20_000_000


def sets() -> dict[str, float]:
    """Sets of 20,000 pages, in batches as the reading gives them."""
    batches = [Batch.of(pages(1_000, fixed=0, own=600, seed=seed)) for seed in range(20)]
    num_bytes = sum(int(batch.text.offsets[-1]) for batch in batches)
    start = time.process_time()
    for batch in batches:
        shingle_sets(batch.text)
    seconds = time.process_time() - start
    return {"mb": num_bytes / 1e6, "cpu_s": seconds}


def pairs() -> dict[str, float]:
    """Pairs of 20,000 sets of ~200, half of each pair's values in common."""
    rng = np.random.default_rng(1)
    found = shingle_sets(Batch.of(pages(20_000, fixed=150, own=60, seed=3)).text)
    left, right = (rng.integers(0, 20_000, PAIRS) for _ in range(2))
    start = time.process_time()
    compare(found.values, found.starts, found.cut, left, right, containment=False)
    return {"count": PAIRS, "cpu_s": time.process_time() - start}


def edges() -> dict[str, float]:
    """Edges of 10^7 documents, two of each, sorted."""
    rng = np.random.default_rng(2)
    n = EDGES // 2
    members = np.sort(rng.integers(1, n, EDGES))
    leaders = (members * rng.random(EDGES)).astype(np.int64)
    likeness = rng.uniform(0.8, 1.0, EDGES)
    alive, anchor = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    keeper, credit = np.arange(n), np.ones(n)
    start = time.process_time()
    elect(members, leaders, likeness, alive=alive, anchor=anchor, keeper=keeper, credit=credit)
    return {"count": EDGES, "cpu_s": time.process_time() - start}


def main(what: str) -> dict[str, Any]:
    """The numbers of one measurement."""
    warm(["minhash", "sets"])
    if what in (made := {"sets": sets, "pairs": pairs, "edges": edges}):
        found: dict[str, Any] = made[what]()
    elif what == "identical":
        found = measured(what, pages(1, fixed=100, own=0, seed=3) * (10 * PAGES))
    else:
        found = measured(what, pages(PAGES, **TEMPLATES[what]))
    return {**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
