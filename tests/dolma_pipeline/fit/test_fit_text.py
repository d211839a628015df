"""What is said of a score beside its source's name."""

from __future__ import annotations

import numpy as np
import pytest

from dolma_pipeline.fit.classifier import Held
from dolma_pipeline.fit.fit import Learned, measure
from dolma_pipeline.fit.fit_text import notes_on

MOSTLY = [("books", 0)] * 9 + [("books", 1)] + [("web", 0)] + [("web", 1)] * 9
"""Source and label (0 is positive): the one source is mostly positive, the other mostly not."""
MIXED = [("books", i % 2) for i in range(10)] + [("web", i % 2) for i in range(10)]


def notes(scores: list[float], rows: list[tuple[str, int]]) -> str:
    held = Held(
        np.array(scores),
        np.array([label == 0 for _, label in rows]),
        np.full(len(rows), 100, np.int64),
        [source for source, _ in rows],
    )
    return " ".join(notes_on(measure(held, Learned(rows)), {}, {}))


BY_SOURCE = [0.9 if source == "books" else 0.1 for source, _ in MOSTLY]


@pytest.mark.parametrize(
    ("scores", "rows", "said"),
    [
        (BY_SOURCE, MOSTLY, "(AUC 0.900 beside 0.900): within a source it hardly follows the label, so the score is a"),
        (
            [one + 0.01 * (label == 0) for one, (_, label) in zip(BY_SOURCE, MOSTLY, strict=True)],
            MOSTLY,
            "what the score has beyond chance (AUC 0.900 beside 0.990).",
        ),
        (BY_SOURCE, [("books" if i < 10 else "web", int(i >= 10)) for i in range(20)], "on these sets the score is a"),
    ],
)
def test_notes_on_sources(scores: list[float], rows: list[tuple[str, int]], said: str) -> None:
    assert said in notes(scores, rows)
    assert ("detector" in notes(scores, rows)) == said.endswith("the score is a")


def test_nothing_is_said_where_the_source_tells_nothing() -> None:
    for scores in ([0.5 + one / 100 for one in range(20)], [0.9 if label == 0 else 0.1 for _, label in MIXED]):
        assert notes(scores, MIXED) == ""


def test_a_score_that_only_ranks_within_sources() -> None:
    scores = [0.1 + 0.01 * (label == 0) if source == "books" else 0.9 + 0.01 * (label == 0) for source, label in MOSTLY]
    assert "follows the label within sources, too (rank correlation 1.000)" in notes(scores, MOSTLY)
