"""A sample against all documents in a plain list, in any order and any cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.fit import sample as module
from dolma_pipeline.fit.sample import Chunk, Sample, Sampled, sample_keys

SIZES = {number: (number * 7) % 23 for number in range(40)}
"""Bytes of the text with this hash; some are 0, an empty text."""
DOCUMENTS = st.lists(st.tuples(st.integers(0, 39), st.sampled_from(["web", "books", "a"])), max_size=60)


def chunk(documents: list[tuple[int, str]]) -> Chunk:
    hashes = np.array([number for number, _ in documents], np.uint64)
    sizes = np.array([SIZES[number] for number, _ in documents], np.int64)
    return Chunk(hashes, sizes, [source for _, source in documents], [str(number) for number, _ in documents])


def taken(documents: list[tuple[int, str]], cut: int, **caps: Any) -> tuple[Sample, Sampled]:
    sample = Sample(seed=3, **caps)
    for at in range(0, len(documents), cut):
        sample.add(chunk(documents[at : at + cut]))
    return sample, sample.close()


@given(DOCUMENTS, st.integers(1, 9), st.integers(0, 12), st.integers(0, 200), st.randoms(use_true_random=False))
def test_it_is_the_texts_of_the_smallest_keys(
    documents: list[tuple[int, str]], cut: int, most: int, most_bytes: int, random: Any
) -> None:
    first: dict[int, tuple[int, str]] = {}
    for number, source in documents:
        (key,) = sample_keys(np.array([number], np.uint64), seed=3).tolist()
        if SIZES[number]:
            first[key] = min(first.get(key, (number, source)), (number, source))
    expected, total = [], 0
    for key, (number, source) in sorted(first.items()):
        total += SIZES[number]
        if len(expected) == most or total > most_bytes:
            break
        expected.append((key, SIZES[number], source))
    shuffled = documents.copy()
    random.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PENDING", 5)
        sample, found = taken(shuffled, cut, max_documents=most, max_bytes=most_bytes)
    names = [found.names[code] for code in found.sources.tolist()]
    assert list(zip(found.keys.tolist(), found.sizes.tolist(), names, strict=True)) == expected
    assert (sample.bound is not None) == (len(expected) < len(first))
    assert sample.documents == len(documents)
    assert sample.num_bytes == sum(SIZES[number] for number, _ in documents)
    assert sample.empty == sum(SIZES[number] == 0 for number, _ in documents)


def test_another_seed_takes_others() -> None:
    hashes = np.arange(1000, dtype=np.uint64)
    first, second = (set(np.argsort(sample_keys(hashes, seed=seed))[:100].tolist()) for seed in (0, 1))
    assert len(first & second) < 30


def test_without_some_keys() -> None:
    _, found = taken([(number, "web") for number in range(1, 20)], 20)
    left = found.without(found.keys[::2])
    assert left.keys.tolist() == found.keys[1::2].tolist()
    assert left.sizes.tolist() == found.sizes[1::2].tolist()
    assert len(left.sources) == len(left.keys)
