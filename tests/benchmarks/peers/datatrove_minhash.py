"""datatrove's MinHash stage 1 without its files: shingles and signature of each document, its defaults.

Words of spaCy, 5 a shingle, 14 bands of 8, 64-bit hashes. Writing and sorting the signature files are left out,
because ours are not written in this measurement either.
"""

from __future__ import annotations

import tempfile

import timing
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

texts = timing.read_texts()
with tempfile.TemporaryDirectory() as folder:
    step = MinhashDedupSignature(folder, config=MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8))


def sign() -> None:
    """A signature of every document that has a shingle."""
    for text in texts:
        shingles = step.get_shingles(text)
        if shingles.size:
            step.get_signature(shingles)


step.get_signature(step.get_shingles("a first call loads the word splitter " * 20))
timing.report(timing.megabytes(texts), timing.cpu_seconds(sign))
