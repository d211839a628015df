"""Periodic runs against a twin that looks at every pair of every period, in code points."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.periodic import PeriodicRuns, character_runs, word_runs

Runs = list[tuple[int, int, int, int]]


def plain_runs(items: list[str] | str, *, longest: int, min_repeats: int) -> list[tuple[int, int, int]]:
    """Start, end and period of the runs of primitive units of up to `longest` items."""
    found = []
    for period in range(1, longest + 1):
        start = 0
        while start + period < len(items):
            end = start + period
            while end < len(items) and items[end] == items[end - period]:
                end += 1
            unit = items[start : start + period]
            primitive = not any(period % d == 0 and unit == unit[:d] * (period // d) for d in range(1, period))
            if end - start >= min_repeats * period and primitive:
                found.append((start, end, period))
            start = end - period + 1
    return sorted(found, key=lambda run: (run[0], run[2]))


def plain_characters(text: str, *, max_bytes: int, min_repeats: int) -> list[tuple[int, int, int]]:
    return [
        (len(text[:start].encode()), len(text[:end].encode()), (end - start) // period)
        for start, end, period in plain_runs(text, longest=max_bytes, min_repeats=min_repeats)
        if text[start : start + period].strip() and len(text[start : start + period].encode()) <= max_bytes
    ]


def plain_words(text: str, *, max_words: int, min_repeats: int) -> list[tuple[int, int, int]]:
    words = list(re.finditer(r"[^\s\x1c-\x1f\x85]+", text))
    assert [word[0] for word in words] == text.split()
    return [
        (
            len(text[: words[start].start()].encode()),
            len(text[: words[end - 1].end()].encode()),
            (end - start) // period,
        )
        for start, end, period in plain_runs([word[0] for word in words], longest=max_words, min_repeats=min_repeats)
    ]


def listed(runs: PeriodicRuns, batch: Batch) -> Runs:
    rows, starts, ends, repeats = (column.tolist() for column in runs)
    offsets = batch.text.offsets.tolist()
    return [
        (row, start - offsets[row], end - offsets[row], times)
        for row, start, end, times in zip(rows, starts, ends, repeats, strict=True)
    ]


def check(batch: Batch, *, longest: int, min_repeats: int) -> None:
    texts = batch.strings
    chars = [
        (row, *run)
        for row, text in enumerate(texts)
        for run in plain_characters(text, max_bytes=longest, min_repeats=min_repeats)
    ]
    assert listed(character_runs(batch.text, max_bytes=longest, min_repeats=min_repeats), batch) == chars
    words = [
        (row, *run)
        for row, text in enumerate(texts)
        for run in plain_words(text, max_words=longest, min_repeats=min_repeats)
    ]
    assert listed(word_runs(batch.words, max_words=longest, min_repeats=min_repeats), batch) == words


REPEATED = st.builds(
    lambda unit, times, rest: unit * times + unit[:rest],
    st.text(st.sampled_from("ab \né好好😀") | st.characters(exclude_categories=("Cs",)), max_size=5),
    st.integers(1, 12),
    st.integers(0, 6),
)
TEXT = st.lists(REPEATED, max_size=4).map("".join)


@settings(max_examples=80, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3), st.integers(1, 9), st.integers(2, 5))
def test_equal_to_plain_python_on_any_unicode(texts: list[str], longest: int, min_repeats: int) -> None:
    check(Batch.of(texts), longest=longest, min_repeats=min_repeats)
    check(Batch(Batch.of(texts).table.slice(1)), longest=longest, min_repeats=min_repeats)


@settings(max_examples=100, deadline=None)
@given(st.text("ab ", max_size=120), st.integers(1, 13), st.integers(2, 4))
def test_equal_to_plain_python_where_runs_meet(text: str, longest: int, min_repeats: int) -> None:
    check(Batch.of([text]), longest=longest, min_repeats=min_repeats)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x" + "ab" * 4 + "a!", [(0, 1, 10, 4)]),  # ends within a unit
        ("ab" * 3 + "c", []),
        ("    " * 20, []),
        (" - " * 5, [(0, 0, 15, 5)]),
        ("éè" * 4, [(0, 0, 16, 4)]),
        ("à" + "é" * 4 + "è", [(0, 2, 10, 4)]),  # all begin with the same byte, which belongs to no run by itself
        ("aaaa" + "abab" * 2, [(0, 0, 5, 5), (0, 4, 12, 4)]),
    ],
)
def test_runs_of_characters(text: str, expected: Runs) -> None:
    batch = Batch.of([text])
    assert listed(character_runs(batch.text, max_bytes=16, min_repeats=4), batch) == expected


def test_runs_of_words_take_no_notice_of_white_space() -> None:
    batch = Batch.of(["so: one two\none  two\n\none two one. No no no"])
    assert listed(word_runs(batch.words, max_words=13, min_repeats=3), batch) == [(0, 4, 29, 3)]


def test_a_run_never_goes_on_in_the_next_document() -> None:
    batch = Batch.of(["aa a a", "aaaa", "a a a"])
    assert listed(character_runs(batch.text, max_bytes=4, min_repeats=3), batch) == [(1, 0, 4, 4)]
    assert listed(word_runs(batch.words, max_words=4, min_repeats=3), batch) == [(2, 0, 5, 3)]


def test_time_is_linear_where_everything_repeats() -> None:
    """Not a measurement: quadratic time would take hours here."""
    batch = Batch.of(["a" * 2_000_000, "ab " * 1_000_000, "\n" * 2_000_000])
    begun = time.process_time()
    found = listed(character_runs(batch.text, max_bytes=64, min_repeats=8), batch)
    assert found == [(0, 0, 2_000_000, 2_000_000), (1, 0, 3_000_000, 1_000_000)]
    assert listed(word_runs(batch.words, max_words=13, min_repeats=3), batch) == [(1, 0, 2_999_999, 1_000_000)]
    assert time.process_time() - begun < 60


def test_all_real_documents_equal_plain_python(all_texts: list[str]) -> None:
    some = [text[:500] for text in all_texts[::150]]
    check(Batch.of(some), longest=20, min_repeats=4)
