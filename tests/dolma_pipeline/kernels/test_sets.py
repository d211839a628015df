"""Sets of shingles, their comparison and the election, against Python's own sets."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup import minhash
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.minhash import shingles, sign_all
from dolma_pipeline.kernels.sets import compare, distinct, warm
from tests.dolma_pipeline.kernels.test_minhash import GAPS, WORDS, hash_shingle, prose, words_of
from tests.dolma_pipeline.kernels.test_minhash import shingles as word_shingles

sets_of = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=20), min_size=1, max_size=5)


def hashes(text: str, size: int) -> list[int]:
    return [hash_shingle(words) for words in word_shingles(text, size)]


@settings(max_examples=100, deadline=None)
@given(st.lists(prose(WORDS), max_size=5), st.sampled_from([1, 2, 5]))
def test_the_shingles_are_those_of_the_signature(texts: list[str], size: int) -> None:
    text = Batch.of(texts).text
    starts, values = shingles(text, shingle=size)
    found = [values[a:b].tolist() for a, b in pairwise(starts)]
    assert found == [hashes(one, size) for one in texts]
    one = np.ones(1, np.uint32)
    assert sign_all(text, one, one, shingle=size).num_shingles.tolist() == [len(one) for one in found]
    made = minhash.shingle_sets(text, shingle=size)
    assert [made.values[a:b].tolist() for a, b in pairwise(made.starts)] == [sorted({*one}) for one in found]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b", "Ab", "é", "漢"]), GAPS), max_size=4), min_size=2, max_size=6
    )
)
def test_same_words_have_the_same_hash_and_others_have_not(texts: list[list[tuple[str, str]]]) -> None:
    written = ["".join(word + gap for word, gap in text) for text in texts]
    one = np.ones(1, np.uint32)
    same = sign_all(Batch.of(written).text, one, one, shingle=2).same
    for i, a in enumerate(written):
        for j, b in enumerate(written):
            equal = [w.lower() for w in words_of(a)] == [w.lower() for w in words_of(b)]
            assert (same[i] == same[j]).tolist() == [equal, equal]


def plain(a: list[int], b: list[int], limit: int, containment: bool) -> float:
    """Of sets cut to their `limit` smallest values."""
    x, y = sorted({*a}), sorted({*b})
    least = min([one[:limit][-1] for one in (x, y) if len(one) > limit], default=2**32)
    p, q = {v for v in x[:limit] if v <= least}, {v for v in y[:limit] if v <= least}
    whole = len(q) if containment else len(p | q)
    return len(p & q) / whole if whole else 0.0


@settings(max_examples=300, deadline=None)
@given(sets_of, st.integers(1, 25), st.booleans(), st.randoms())
def test_compare_equals_pythons_sets(given: list[list[int]], limit: int, containment: bool, rng: random.Random) -> None:
    starts = np.cumsum([0, *map(len, given)])
    values, starts = distinct(np.array([value for one in given for value in one], np.uint32), starts)
    sizes = np.diff(starts)
    cut = np.concatenate([values[a : min(b, a + limit)] for a, b in pairwise(starts)])
    ends = np.concatenate([[0], np.cumsum(np.minimum(sizes, limit))])
    left = np.array([rng.randrange(len(given)) for _ in range(6)])
    right = np.array([rng.randrange(len(given)) for _ in range(6)])
    found = compare(cut, ends, sizes > limit, left, right, containment=containment)
    assert found.tolist() == [plain(given[i], given[j], limit, containment) for i, j in zip(left, right, strict=True)]


def test_a_large_set_is_cut_and_still_compared() -> None:
    words = [f"w{i}" for i in range(9000)]
    texts = [" ".join(words), " ".join(words[:8500]), " ".join(words[:300])]
    made = minhash.shingle_sets(Batch.of(texts).text)
    assert np.diff(made.starts).tolist() == [4096, 4096, 296]
    assert made.cut.tolist() == [True, True, False]
    found = compare(made.values, made.starts, made.cut, np.array([0, 0]), np.array([1, 2]), containment=False)
    assert abs(found[0] - 8496 / 8996) < 0.02
    assert abs(found[1] - 296 / 8996) < 0.02


def test_warm_compiles_what_is_used() -> None:
    from dolma_pipeline.kernels import sets

    warm()
    counts = [len(one.signatures) for one in (sets._distinct, sets._compare, sets._elect)]
    test = distinct(np.array([3, 3, 1], np.uint32), np.array([0, 3]))
    compare(*test, np.array([False]), np.array([0]), np.array([0]), containment=True)
    assert [len(one.signatures) for one in (sets._distinct, sets._compare, sets._elect)] == counts == [1, 1, 1]
