"""Gopher's quality numbers equal a few lines of plain Python, on all of Unicode, in slices and on real text."""

from __future__ import annotations

import gzip
import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.gopher import QUALITY, quality_columns
from dolma_pipeline.kernels.words import STOP_WORDS

ELLIPSES = ("...", "…")
PIECES = st.sampled_from(
    [
        " ",
        " ",
        "\n",
        "\n\n",
        " \n ",
        "\u2028",
        "the ",
        "The",
        "with,",
        " of",
        "#",
        "…",
        "...",
        "....",
        ".",
        "- ",
        "* ",
        "•",
        "a",
        "é1",
    ]
)
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=6), max_size=40).map("".join)


def plain_quality(text: str) -> list[float]:
    words = text.split()
    if not words:
        return [0.0] * len(QUALITY)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    stops = [core for word in words if (core := re.sub(r"^\W+|\W+$", "", word).lower()) in STOP_WORDS]
    return [
        len(words),
        sum(map(len, words)) / len(words),
        statistics.median(map(len, words)),
        max(text.count("#"), text.count("...") + text.count("…")) / len(words),
        sum(line.startswith(("•", "*", "-")) for line in lines) / len(lines),
        sum(line.endswith(ELLIPSES) for line in lines) / len(lines),
        sum(any(map(str.isalpha, word)) for word in words) / len(words),
        len(set(stops)),
        len(stops),
    ]


def check(batch: Batch, texts: list[str]) -> None:
    columns = quality_columns(batch.text, batch.words)
    assert tuple(columns) == QUALITY
    found = np.array(list(columns.values())).T
    expected = np.array([plain_quality(text) for text in texts]).reshape(len(texts), len(QUALITY))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def one(text: str) -> dict[str, float]:
    batch = Batch.of([text])
    return {name: column[0] for name, column in quality_columns(batch.text, batch.words).items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts), texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=5))
def test_a_slice_gives_the_numbers_of_its_own_rows(texts: list[str]) -> None:
    check(Batch(Batch.of(texts).table.slice(1, len(texts) - 2)), texts[1:-1])


def test_no_words_give_zeros_and_never_nan() -> None:
    texts = ["", " \n\u3000", "word", ""]
    check(Batch.of(texts), texts)
    assert all(len(column) == 0 for column in quality_columns(Batch.of([]).text, Batch.of([]).words).values())


def test_counts_are_integers_and_the_rest_floats() -> None:
    batch = Batch.of(["some words"])
    dtypes = {name: column.dtype.kind for name, column in quality_columns(batch.text, batch.words).items()}
    counts = {"word_count", "stop_word_kinds", "stop_word_count"}
    assert {name for name, kind in dtypes.items() if kind == "i"} == counts
    assert set(dtypes.values()) == {"i", "f"}


@pytest.mark.parametrize(
    "lengths", [(1,), (1, 4), (255, 256), (256, 300), (3, 300, 4000), (1, 1, 300, 300), (2, 500, 2)]
)
def test_the_median_of_long_words(lengths: tuple[int, ...]) -> None:
    assert one(" ".join("x" * n for n in lengths))["median_word_length"] == statistics.median(lengths)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("# a b c", 1 / 4), ("##tag b", 1.0), ("a... b… c", 2 / 3), ("a...... b", 1.0), ("a.... b", 0.5), ("# ...", 0.5)],
)
def test_symbols_are_counted_one_by_one_and_the_larger_ratio_is_given(text: str, ratio: float) -> None:
    assert one(text)["symbol_ratio"] == pytest.approx(ratio, abs=1e-12)


def test_lines_are_stripped_and_blank_ones_do_not_count() -> None:
    found = one("  • one\n\n \n\t- two...  \nthree…\nfour")
    assert found["bullet_line_share"] == 2 / 4
    assert found["ellipsis_line_share"] == 2 / 4


def test_stop_words_are_counted_by_kind_and_by_occurrence() -> None:
    found = one('The "the" THAT, then; be-to')
    assert (found["stop_word_kinds"], found["stop_word_count"]) == (2, 3)


def test_quality_texts(data: Path) -> None:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    check(Batch.of(texts), texts)
