"""Hashed lines and paragraphs against a plain twin, on any Unicode."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.units import hashed_units
from tests.dolma_pipeline.kernels.test_lines import TEXT


def plain_units(text: str, *, by_line: bool) -> list[tuple[str, int, int]]:
    """Each unit with its code points, without white space around it; blank ones left out."""
    found, at = [], 0
    for piece in text.split("\n" if by_line else "\n\n"):
        if unit := piece.strip():
            start = at + len(piece) - len(piece.lstrip())
            found.append((unit, start, start + len(unit)))
        at += len(piece) + (1 if by_line else 2)
    return found


@pytest.mark.parametrize("by_line", [True, False])
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4), min_chars=st.integers(1, 9))
def test_units_and_their_places(by_line: bool, texts: list[str], min_chars: int) -> None:
    found = hashed_units(Batch(Batch.of(["x", *texts]).table.slice(1)).text, by_line=by_line, min_chars=min_chars)
    expected = [
        (row, start, end, unit)
        for row, text in enumerate(texts)
        for unit, start, end in plain_units(text, by_line=by_line)
        if len(unit) >= min_chars
    ]
    got = list(zip(found.rows.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True))
    assert got == [(row, start, end) for row, start, end, _ in expected]
    hashes = list(zip(found.hi.tolist(), found.lo.tolist(), strict=True))
    assert [hashes.index(one) for one in hashes] == [
        [unit for *_, unit in expected].index(unit) for *_, unit in expected
    ], "equal hashes where the texts are equal, and nowhere else"
    assert len({hi for hi, _ in hashes}) == len({lo for _, lo in hashes}) == len({unit for *_, unit in expected})
    sizes = [sum(len(unit) for unit, *_ in plain_units(text, by_line=by_line)) for text in texts]
    assert found.chars.tolist() == sizes
