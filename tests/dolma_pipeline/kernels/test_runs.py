"""Anchors and the runs around them, against a plain winnowing; and that no run that occurs twice is without one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.runs import KEY_SEED, anchors, runs_around
from tests.dolma_pipeline.kernels.test_folded import folded, placed_words
from tests.dolma_pipeline.kernels.test_minhash import M64, hash_word, mix

FACTOR = 0xA0761D6478BD642F
TEXT = st.lists(st.sampled_from(["a", "B", "b", "c", "漢", "字 ", "é", "d."]), max_size=60).map(" ".join)


def plain_hash(words: list[str]) -> int:
    value = 0
    for word in words:
        value = (value * FACTOR + hash_word(word)) & M64
    return mix(value)


def plain_anchors(text: str, size: int) -> list[tuple[int, int]]:
    """First word and key of each anchor: the last of the smallest of every window of half runs."""
    words, half = folded(text), size // 2
    values = [plain_hash(words[i : i + half]) for i in range(len(words) - half + 1)]
    span = size - half + 1
    chosen = set()
    for i in range(len(values) - span + 1):
        window = values[i : i + span]
        chosen.add(i + max(j for j, value in enumerate(window) if value == min(window)))
    return [(i, mix((values[i] + int(KEY_SEED)) & M64)) for i in sorted(chosen)]


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3), st.integers(2, 13))
def test_anchors_are_those_of_plain_winnowing(texts: list[str], size: int) -> None:
    found = anchors(Batch.of(["x", *texts]).text, words=size)
    assert found.num_words.tolist() == [1, *(len(folded(text)) for text in texts)]
    for row, text in enumerate(texts, 1):
        own = found.rows == row
        assert list(zip(found.words[own].tolist(), found.keys[own].tolist(), strict=True)) == plain_anchors(text, size)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3), st.integers(2, 13), st.randoms(use_true_random=False))
def test_runs_are_those_that_hold_an_anchor(texts: list[str], size: int, random: object) -> None:
    batch = Batch.of(texts)
    found = anchors(batch.text, words=size)
    some = np.array([random.random() < 0.5 for _ in found.rows], bool)  # type: ignore[attr-defined]
    runs = runs_around(batch.text, found.rows[some], found.words[some], words=size)
    got = list(zip(*(column.tolist() for column in runs), strict=True))
    expected = []
    half = size // 2
    for row, text in enumerate(texts):
        words, places = folded(text), placed_words(text)
        held = found.words[some & (found.rows == row)].tolist()
        for i in range(len(words) - size + 1):
            if any(i <= anchor and anchor + half <= i + size for anchor in held):
                hashed = plain_hash(words[i : i + size])
                expected.append((row, i, places[i][1], places[i + size - 1][2], hashed))
    assert got == expected
    if some.all():
        assert {(row, i) for row, i, *_ in got} == {
            (row, i) for row, text in enumerate(texts) for i in range(len(folded(text)) - size + 1)
        }
