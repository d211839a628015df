"""Looks against plain Python, and which of them are warned of."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup import looks
from dolma_pipeline.dedup.looks import Sources, by_source, histogram, largest_stars, lengths, warnings_of

numbers = st.lists(st.integers(0, 19), max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.data())
def test_what_each_source_lost(sizes: list[int], data: st.DataObject) -> None:
    first = np.concatenate([[0], np.cumsum(sizes)])
    some = data.draw(st.sets(st.integers(0, max(0, sum(sizes) - 1)))) if sum(sizes) else set()
    found = by_source(Sources([f"s{i}" for i in range(len(sizes))], first), np.array(sorted(some), np.int64))
    for i, size in enumerate(sizes):
        removed = sum(first[i] <= node < first[i + 1] for node in some)
        share = round(removed / size, 6) if size else 0.0
        assert found[f"s{i}"] == {"documents": size, "removed": removed, "share": share}


@settings(max_examples=100, deadline=None)
@given(numbers)
def test_the_largest_stars(keepers: list[int]) -> None:
    nodes, counts = largest_stars(np.array(keepers, np.int64))
    expected = sorted(Counter(keepers).items(), key=lambda one: (-one[1], one[0]))[:20]
    assert list(zip(nodes.tolist(), counts.tolist(), strict=True)) == expected


def test_likeness_in_bins() -> None:
    values = np.array([0.8, 0.8499, 0.85, 0.9, 0.95, 0.99, 1.0, 1.0, 0.7])
    assert histogram(values) == {"0.70": 1, "0.80": 2, "0.85": 1, "0.90": 1, "0.95": 2, "1.00": 2}
    assert histogram(np.zeros(0)) == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.sets(st.integers(0, 9)))
def test_who_stays_though_an_earlier_one_is_like_it(pairs: list[tuple[int, int]], gone: set[int]) -> None:
    left, right = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    found = looks.anchors_like_an_earlier(left, right, np.array(sorted(gone), np.int64))
    assert found.tolist() == sorted({b for a, b in pairs if not {a, b} & gone})


def test_lengths_by_hand() -> None:
    found = lengths(np.array([7, 7, 10, 50, 24]), np.array([7, 90, 24, 20, 52]), np.array([0.9, 1, 0.8, 0.8, 0.9]),
                    shingle=5)  # fmt: skip
    assert found == {"few_shingles": 1, "other_length": 1, "greatest_ratio": 2.25}
    nothing = np.zeros(0, np.int64)
    assert lengths(nothing, nothing, np.zeros(0), shingle=5)["greatest_ratio"] == 1.0


def quiet() -> dict[str, Any]:
    return {
        "sources": {"web": {"documents": 10_000, "removed": 2_000, "share": 0.2}},
        "largest_stars": [{"keeper": "web/a#0", "source": "web", "removed": 100}],
        "documents": 5_000, "threshold": 0.8, "verify": "jaccard", "likeness": {"0.80": 666, "1.00": 1334},
        "near_threshold": 666, "pairs": {"compared": 100_000, "alike": 25_000},
        "thresholds": {"0.75": {"removed": 2_500, "not_compared": 3, "exact": False},
                       "0.85": {"removed": 1_400, "not_compared": 0, "exact": True}},
        "anchors_like_an_earlier": 9, "few_shingles": 200, "other_length": 0, "greatest_ratio": 1.4,
    }  # fmt: skip


def sources(documents: int, removed: int) -> dict[str, Any]:
    return {"web": {"documents": documents, "removed": removed, "share": removed / documents}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sources": sources(9_999, 2_000), "largest_stars": []},
         r"^2,000 of 9,999 documents of source 'web' \(20%\) are marked as copies"),
        ({"sources": sources(3_999, 2_000), "largest_stars": []},
         r"^MORE THAN HALF OF A SOURCE: 2,000 of 3,999 "),
        ({"largest_stars": [{"keeper": "web/a#0", "source": "web", "removed": 101}]}, r"^101 documents go for web/a#0"),
        ({"pairs": {"compared": 100_000, "alike": 24_999}}, r"^only 24,999 of 100,000 compared pairs are alike"),
        ({"near_threshold": 667}, r"^667 of 2,000 went with a likeness below 0\.85: .* At 0\.75 about 2,500 would go, "
                                  r"0\.85 1,400 would go"),
        ({"anchors_like_an_earlier": 10}, r"^10 documents stay though an earlier one"),
        ({"few_shingles": 201}, r"^201 of 2,000 went with fewer than 8 shingles"),
        ({"other_length": 1, "greatest_ratio": 2.5}, r"^1 went for a document of .*at most 2\.5 times"),
    ],
)  # fmt: skip
def test_what_is_warned_of(change: dict[str, Any], words: str) -> None:
    assert warnings_of(quiet()) == []
    found = warnings_of({**quiet(), **change})
    assert [bool(re.search(words, one)) for one in found] == [True]


def test_little_data_is_not_warned_of() -> None:
    star = {"keeper": "web/a#0", "source": "web", "removed": 20}
    assert warnings_of({"sources": sources(99, 98), "largest_stars": [star]}) == []
    assert warnings_of({**quiet(), "verify": "containment", "other_length": 7}) == []
    assert warnings_of({**quiet(), "pairs": {"compared": 99_999, "alike": 0}}) == []
