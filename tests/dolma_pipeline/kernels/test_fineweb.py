"""FineWeb's numbers equal a few lines of plain Python, on any Unicode, in slices and on real text."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.fineweb import COLUMNS, END_QUOTES, fineweb_columns
from tests.dolma_pipeline.kernels.test_sentences import TERMINALS

PIECES = st.sampled_from(
    [" ", "\n", "\n", "\n\n", " \n", "menu", "menu\n", "An end.", "Is it?", "”", "。", "é", "x" * 31, "x" * 30]
)
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=4), max_size=30).map("".join)


def plain_columns(text: str, *, short: int = 30) -> list[float]:
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return [0.0] * len(COLUMNS)
    repeated = sum(len(line) for i, line in enumerate(lines) if line in lines[:i])
    return [
        sum(line.rstrip().endswith(tuple(TERMINALS + END_QUOTES)) for line in lines) / len(lines),
        sum(len(line) <= short for line in lines) / len(lines),
        repeated / len(text.replace("\n", "")),
        text.count("\n") / len(text.split()),
    ]


def columns(batch: Batch, short: int = 30) -> list[list[float]]:
    found = fineweb_columns(batch.text, batch.words, batch.lines, short_line_chars=short)
    assert list(found) == list(COLUMNS)
    assert all(column.dtype == np.float64 for column in found.values())
    return [list(row) for row in zip(*(column.tolist() for column in found.values()), strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(0, 40))
def test_equal_to_plain_python_on_any_unicode(texts: list[str], short: int) -> None:
    expected = [plain_columns(text, short=short) for text in texts]
    batch = Batch.of(texts)
    assert columns(batch, short) == expected
    assert columns(Batch(batch.table.slice(1)), short) == expected[1:]
    for text, one in zip(texts, expected, strict=True):
        assert columns(Batch.of([text]), short) == [one]


def test_equal_to_plain_python_on_real_text(all_texts: list[str]) -> None:
    texts = [text[:4000] for text in all_texts[::20]]
    assert columns(Batch.of(texts)) == [*map(plain_columns, texts)]


def test_nothing_and_blanks_have_no_share() -> None:
    assert columns(Batch.of(["", "\n", " \n\t\n", "\u2028"])) == [[0.0] * 4] * 4


def test_long_texts_take_linear_time() -> None:
    texts = ["x" * 2_000_000, "\n" * 2_000_000, "a\n" * 500_000]
    assert columns(Batch.of(texts)) == [
        [0.0, 0.0, 0.0, 0.0],
        [0.0] * 4,
        [0.0, 1.0, 499_999 / 500_000, 1.0],
    ]
