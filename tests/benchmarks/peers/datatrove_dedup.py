"""datatrove's four stages of MinHash, text to kept documents: its defaults, 14 bands of 8, documents in memory.

Signatures, buckets, clusters and the filter write and read their own files in a folder; nothing is verified.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import timing
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)

texts = timing.read_texts()
documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
kept = []


def stages(folder: str, documents: list[Document]) -> None:
    """All four, one task each, the buckets' one a bucket."""
    signatures, buckets, removed = (str(Path(folder) / name) for name in ("signatures", "buckets", "removed"))
    MinhashDedupSignature(signatures, config=config).run(iter(documents), 0, 1)
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(signatures, buckets, config=config).run(None, bucket, config.num_buckets)
    MinhashDedupCluster(buckets, removed, config=config).run(None, 0, 1)
    kept[:] = MinhashDedupFilter(removed).run(iter(documents), 0, 1)


with tempfile.TemporaryDirectory() as folder:
    stages(folder, [Document(text="a first call loads the word splitter " * 20, id=name) for name in ("a", "b")])
with tempfile.TemporaryDirectory() as folder:
    seconds = timing.cpu_seconds(lambda: stages(folder, documents))
timing.report(timing.megabytes(texts), seconds, kept=len(kept))
