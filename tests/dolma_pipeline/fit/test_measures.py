"""Measures against their definitions, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.fit import measures

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), st.booleans(), st.sampled_from("abc")),
    min_size=1,
    max_size=30,
)


def plain_auc(rows: list[tuple[float, bool, str]]) -> float | None:
    """Over all pairs of a positive and a negative document: 1 where the positive one is ahead, a half where equal."""
    pairs = [(a, b) for a, is_positive, _ in rows if is_positive for b, other, _ in rows if not other]
    return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs) if pairs else None


def arrays(rows: list[tuple[float, bool, str]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), [row[2] for row in rows]


@given(ROWS)
def test_auc_is_the_chance_of_the_right_order(rows: list[tuple[float, bool, str]]) -> None:
    scores, labels, _ = arrays(rows)
    assert measures.auc(scores, labels) == (None if plain_auc(rows) is None else pytest.approx(plain_auc(rows)))


@given(ROWS)
def test_within_sources_only_pairs_of_one_source_count(rows: list[tuple[float, bool, str]]) -> None:
    scores, labels, sources = arrays(rows)
    within = measures.within_sources(scores, labels, sources)
    assert [one.source for one in within] == sorted(set(sources))
    pairs = total = 0.0
    for one in within:
        own = [row for row in rows if row[2] == one.source]
        assert (one.documents, one.positive) == (len(own), sum(row[1] for row in own))
        assert one.auc == (None if plain_auc(own) is None else pytest.approx(plain_auc(own)))
        for a, is_positive, _ in own:
            for b, other, _ in own:
                if is_positive and not other:
                    pairs, total = pairs + 1, total + (a > b) - (a < b)
    pooled = measures.pooled_rank_correlation(within)
    assert pooled == (pytest.approx(total / pairs, abs=1e-9) if pairs else None)


def test_a_source_says_the_share_of_its_positive_documents_that_were_learned_from() -> None:
    learned = {("books", 0): 8, ("web", 0): 1, ("web", 1): 5}
    found = measures.source_scores(learned, ["books", "web", "new", "books"])
    assert found.tolist() == [9 / 10, 2 / 8, 1 / 2, 9 / 10]


@given(ROWS.filter(lambda rows: any(row[1] for row in rows)))
def test_a_threshold_keeps_what_has_at_least_this_score(rows: list[tuple[float, bool, str]]) -> None:
    scores, labels, sources = arrays(rows)
    sizes = np.arange(len(rows), dtype=np.int64)
    for one in measures.thresholds(scores, labels, sizes, sources, (0.25, 0.5)):
        kept = [(i, row) for i, row in enumerate(rows) if row[0] >= one.threshold]
        right = sum(row[1] for _, row in kept)
        assert (one.documents, one.num_bytes) == (len(kept), sum(i for i, _ in kept))
        assert one.precision == (right / len(kept) if kept else None)
        assert one.recall == right / sum(row[1] for row in rows)
        assert one.by_source == {
            source: (sum(row[2] == source for _, row in kept), sum(i for i, row in kept if row[2] == source))
            for source in sorted(set(sources))
        }
