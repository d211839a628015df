"""The hash of bytes: equal to its description in plain Python, blind to place, and free of collisions in real words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.kernels.hashing import hash_bytes

MASK = (1 << 64) - 1


def mix(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def plain_hash(text: bytes) -> int:
    whole = len(text) // 8 * 8
    h = 0
    for i in range(0, whole, 8):
        h = mix(h ^ int.from_bytes(text[i : i + 8], "little"))
    return mix((h ^ int.from_bytes(text[whole:], "little")) + len(text) * 0x9E3779B97F4A7C15 & MASK)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=9), st.binary(max_size=9))
def test_equal_bytes_hash_as_described_wherever_they_lie(text: bytes, left: bytes, right: bytes) -> None:
    data = np.frombuffer(left + text + right, np.uint8)
    assert int(hash_bytes(data, len(left), len(left) + len(text))) == plain_hash(text)


def test_zeros_and_lengths_are_told_apart() -> None:
    texts = [bytes(n) for n in range(30)] + [b"a", b"a\0", b"\0a", b"abcdefgh", b"abcdefgh\0"]
    data = [np.frombuffer(text, np.uint8) for text in texts]
    assert len({int(hash_bytes(one, 0, len(one))) for one in data}) == len(texts)


def test_no_two_words_of_real_text_share_a_hash(data: Path) -> None:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as lines:
        words = {word.encode() for line in lines for word in json.loads(line)["text"].split()}
    assert len(words) > 50_000
    assert len({int(hash_bytes(np.frombuffer(word, np.uint8), 0, len(word))) for word in words}) == len(words)
