"""Citation marks are what a regular expression finds, and lines without them what `re.sub` leaves."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.citations import find_citations, without_citations

MARK = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
WHOLE = ["[1]", "[]", "[edit]", "[citation needed]", "[citation", "needed]", "[²]", "[٣]", "[𝟡2]", "[_]", "[Ⅷ]"]
PIECES = st.sampled_from([*"[[]] 19\né", *WHOLE])
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=3), max_size=25).map("".join)


def plain_spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in MARK.finditer(text)]


def check(batch: Batch, texts: list[str]) -> None:
    found = find_citations(batch.text)
    spans = batch.spans(found.rows, found.starts, found.ends, [1.0] * len(found.rows)).to_pylist()
    assert [[(span["start"], span["end"]) for span in one] for one in spans] == [*map(plain_spans, texts)]
    cut = without_citations(batch.text, batch.lines, found)
    lines = [line for text in texts for line in text.split("\n")]
    assert cut.at.tolist() == [i for i, line in enumerate(lines) if MARK.search(line)]
    data, offsets = cut.text.data.tobytes(), cut.text.offsets.tolist()
    left = [data[a:b].decode() for a, b in itertools.pairwise(offsets)]
    assert left == [MARK.sub("", lines[i]) for i in cut.at]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_equal_to_a_regular_expression(texts: list[str]) -> None:
    batch = Batch.of(texts)
    check(batch, texts)
    check(Batch(batch.table.slice(1)), texts[1:])


def test_real_text(all_texts: list[str]) -> None:
    texts = all_texts[::10]
    check(Batch.of(texts), texts)


def test_nothing() -> None:
    check(Batch.of([]), [])
    check(Batch.of(["", "", ""]), ["", "", ""])


@pytest.mark.parametrize("text", ["[" * 10**6, "[" + "1" * 10**6, "[1]" * 300_000, "[1" * 500_000])
def test_long_texts_take_linear_time(text: str) -> None:
    assert len(find_citations(Batch.of([text]).text).rows) in (0, 300_000)
