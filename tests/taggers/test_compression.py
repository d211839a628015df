"""`compression_v1`: repeated text has a low ratio, random text a high one."""

from __future__ import annotations

import random

from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger


def test_keeps_its_promises() -> None:
    check_tagger("compression_v1")


def test_ratio_is_of_the_bytes_of_the_text() -> None:
    tag = load_tagger("compression_v1")
    assert tag("") == {"lz4_bytes": 0, "lz4_ratio": 0.0}
    assert tag("é") == {"lz4_bytes": 3, "lz4_ratio": 1.5}
    assert tag("é" * 500) == {"lz4_bytes": 15, "lz4_ratio": 0.015}


def test_copies_compress_and_noise_does_not() -> None:
    tag = load_tagger("compression_v1")
    noise = "".join(map(chr, random.Random(1).choices(range(33, 127), k=5000)))
    prose = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"
    )
    assert float(tag(noise)["lz4_ratio"]) > 1
    assert 0.5 < float(tag(prose)["lz4_ratio"]) < 0.9
    assert float(tag(prose * 20)["lz4_ratio"]) < 0.1
