"""Keys depend on the origin, the seed, the copy and the purpose, and on nothing else."""

from __future__ import annotations

import numpy as np
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.tokens.keys import document_key

ORIGINS = [f"web/part-{i % 7}#{i}" for i in range(20_000)]


def test_is_xxh3_of_the_origin():
    expected = [xxhash.xxh3_64_intdigest(origin.encode(), 9) for origin in ORIGINS[:50]]
    assert document_key(ORIGINS[:50], seed=9).tolist() == expected


def test_known_values_never_change():
    """Shards made by an older version must stay comparable."""
    assert document_key(["web/a#0", "ü/é#1"], seed=1).tolist() == [8289584181793926435, 11020523033602715533]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20), st.integers(-(2**70), 2**70))
def test_a_key_does_not_depend_on_its_neighbours(origins: list[str], seed: int):
    together = document_key(origins, seed=seed)
    assert together.dtype == np.uint64
    assert together.tolist() == [int(document_key([origin], seed=seed)[0]) for origin in origins]


def test_epochs_and_purposes_are_not_correlated():
    first = document_key(ORIGINS, seed=1)
    for other in (
        document_key(ORIGINS, seed=1, epoch=1),
        document_key(ORIGINS, seed=1, purpose="check"),
        document_key(ORIGINS, seed=2),
    ):
        both = np.mean((first < 2**63) & (other < 2**63))
        assert abs(both - 0.25) < 0.02


def test_keys_are_spread_evenly():
    counts = np.bincount((document_key(ORIGINS, seed=1) >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 20_000 / 16 * 0.9
    assert counts.max() < 20_000 / 16 * 1.1
