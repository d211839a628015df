"""Signatures, band keys and estimates as the pipeline uses them; the kernel has its own tests."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.minhash import band_keys, estimate_jaccard, low_bytes, permutations, signatures
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import UsageError


def test_permutations_are_datasketchs() -> None:
    for num_perm, seed in ((112, 1), (128, 9), (1, 0), (1000, 2**32 - 1), (256, 20_000)):
        a, b = permutations(num_perm, seed=seed)
        want_a, want_b = MinHash(num_perm, seed, scheme="affine32").permutations
        assert (a.dtype, b.dtype) == (np.uint32, np.uint32)
        np.testing.assert_array_equal(a, want_a)
        np.testing.assert_array_equal(b, want_b)
        assert (a % 2 == 1).all()
        assert not a.flags.writeable
        assert not b.flags.writeable


def test_signatures_of_a_batch() -> None:
    minima, signed = signatures(Batch.of(["one two three", "ONE, two three!", "", "four"]))
    assert minima.shape == (4, 112)
    assert signed.tolist() == [True, True, False, True]
    assert (minima[0] == minima[1]).all()
    assert (minima[0] != minima[3]).all()


def test_shingle_and_seed_change_the_signature() -> None:
    batch = Batch.of(["one two three four five six seven"])
    plain = signatures(batch)[0]
    assert (signatures(batch, shingle=3)[0] != plain).any()
    assert (signatures(batch, seed=2)[0] != plain).any()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_keys_are_equal_just_where_a_whole_band_is(bands: int, rows: int, seed: int) -> None:
    minima = np.random.default_rng(seed).integers(0, 2, (6, bands * rows), np.uint32)  # few values: many equal bands
    keys = band_keys(minima, bands=bands, rows=rows)
    assert keys.shape == (6, bands)
    assert keys.dtype == np.uint64
    for band in range(bands):
        part = minima[:, band * rows : (band + 1) * rows]
        same = (part[:, None] == part[None]).all(axis=2)
        np.testing.assert_array_equal(keys[:, None, band] == keys[None, :, band], same)


def test_a_band_knows_its_number() -> None:
    keys = band_keys(np.full((1, 8), 7, np.uint32), bands=4, rows=2)
    assert len(set(keys[0].tolist())) == 4


def test_bands_that_do_not_fit_are_told() -> None:
    with pytest.raises(UsageError, match="14 bands of 8 rows need 112 permutations, but the signatures have 128"):
        band_keys(np.zeros((1, 128), np.uint32), bands=14, rows=8)
    with pytest.raises(UsageError, match="at least 1 word a shingle"):
        signatures(Batch.of(["a"]), shingle=0)


def test_low_bytes_are_the_low_bytes() -> None:
    minima = np.array([[0, 255, 256, 0xFFFFFF01]], np.uint32)
    assert low_bytes(minima).tolist() == [[0, 255, 0, 1]]
    assert low_bytes(minima).dtype == np.uint8


def test_estimates_at_the_ends() -> None:
    low = np.arange(112, dtype=np.uint8)[None]
    assert estimate_jaccard(low, low).tolist() == [1.0]
    assert estimate_jaccard(low, low + 1).tolist() == [0.0]


@pytest.mark.parametrize("jaccard", [0.2, 0.5, 0.8, 0.95])
def test_estimates_are_unbiased(jaccard: float) -> None:
    """400 pairs of word sets of known similarity: the mean is right to 1 in 100, the spread as in theory."""
    rng = np.random.default_rng(3)
    shared = round(2 * 200 * jaccard / (1 + jaccard))  # of 200 words each
    texts = []
    for _ in range(400):
        words = [f"w{i}" for i in rng.integers(0, 2**60, 400 - shared)]
        texts += [" ".join(words[:200]), " ".join(words[:shared] + words[200:])]
    low = low_bytes(signatures(Batch.of(texts), shingle=1)[0])
    estimate = estimate_jaccard(low[::2], low[1::2])
    true = shared / (400 - shared)
    assert abs(estimate.mean() - true) < 0.01
    assert estimate.std() == pytest.approx(np.sqrt(true * (1 - true) / 112), rel=0.25)


def test_importing_loads_neither_numba_nor_datasketch() -> None:
    code = (
        "import sys, dolma_pipeline.dedup.minhash, dolma_pipeline.dedup.exact, dolma_pipeline.dedup.edges,"
        "dolma_pipeline.dedup.components, dolma_pipeline.dedup.keep;"
        "print([m for m in ('numba', 'datasketch', 'scipy', 'apache_beam') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
