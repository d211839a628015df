"""Repetition equals plain Python that counts every n-gram: on texts full of repeats, Unicode, slices, real text."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.repetition import REPETITION, repetition_columns

# Few different words, so that n-grams of all lengths repeat and overlap.
PIECES = st.sampled_from(
    ["a ", "a ", "b ", "cc ", "a b cc ", "a a a ", "the word é ", "\n", "\n\n", "\n \n", "a b\n", "x\n\n"]
)
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=4), max_size=60).map("".join)


def later(pieces: list[str]) -> list[str]:
    seen: set[str] = set()
    return [piece for piece in pieces if piece in seen or seen.add(piece)]


def plain_repetition(text: str) -> list[float]:
    words = text.split()
    if not words:
        return [0.0] * len(REPETITION)
    total = sum(map(len, words))
    numbers = []
    for break_ in ("\n", "\n\n"):
        pieces = [piece.strip() for piece in text.split(break_) if piece.strip()]
        again = later(pieces)
        numbers += [len(again) / len(pieces), sum(len("".join(piece.split())) for piece in again) / total]
    for n in range(2, 11):
        places = defaultdict(list)
        for i in range(len(words) - n + 1):
            places[tuple(words[i : i + n])].append(i)
        if n <= 4:
            most = max((len(at) * sum(map(len, gram)) for gram, at in places.items() if len(at) > 1), default=0)
            numbers.append(min(1.0, most / total))
        else:
            covered = {j for at in places.values() for i in at[1:] for j in range(i, i + n)}
            numbers.append(sum(len(words[j]) for j in covered) / total)
    return numbers


def check(batch: Batch, texts: list[str]) -> None:
    columns = repetition_columns(batch.text, batch.words)
    assert tuple(columns) == REPETITION
    found = np.array(list(columns.values())).T
    expected = np.array([plain_repetition(text) for text in texts]).reshape(len(texts), len(REPETITION))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def one(text: str) -> dict[str, float]:
    batch = Batch.of([text])
    return {name: float(column[0]) for name, column in repetition_columns(batch.text, batch.words).items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts), texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=5))
def test_a_slice_gives_the_numbers_of_its_own_rows(texts: list[str]) -> None:
    check(Batch(Batch.of(texts).table.slice(1, len(texts) - 2)), texts[1:-1])


def test_too_short_texts_give_zeros_and_never_nan() -> None:
    texts = ["", "\n\n", "a", "a a", "a b a b", "a b c d e f g h i j"]
    check(Batch.of(texts), texts)
    assert set(one("a").values()) == {0.0}


def test_the_first_line_is_no_duplicate_and_later_ones_are() -> None:
    found = one("ab\n  ab \n\n ab\ncd")
    assert found["duplicate_line_share"] == 2 / 4
    assert found["duplicate_line_chars"] == 4 / 8
    assert found["duplicate_paragraph_share"] == 0.0  # "ab\n  ab" and "ab\ncd"


def test_a_paragraph_is_what_two_newlines_in_a_row_part() -> None:
    found = one("ab cd\n\nab cd\n\n\n\nef\n \nef")
    assert found["duplicate_paragraph_share"] == 1 / 3
    assert found["duplicate_paragraph_chars"] == 4 / 12


def test_a_top_ngram_is_the_one_that_covers_most() -> None:
    found = one("a b a b a b longest words longest words x")  # "a b" stands 3 times, "longest words" covers more
    assert found["top_2gram_chars"] == 24 / 31
    assert one("a a a a")["top_2gram_chars"] == 1.0  # 3 times 2 characters of 4: at most all


def test_characters_of_overlapping_duplicates_count_once() -> None:
    assert one("a " * 20)["duplicate_5gram_chars"] == 19 / 20
    assert one("v w x y z q v w x y z")["duplicate_5gram_chars"] == 5 / 11
    assert one("v w x y z q v w x y z")["duplicate_6gram_chars"] == 0.0


@pytest.mark.parametrize("n", range(5, 11))
def test_a_block_that_returns_is_seen_by_ngrams_that_fit_into_it(n: int) -> None:
    block = " ".join(f"w{i}" for i in range(n))
    found = one(f"{block} between {block}")
    shares = [found[f"duplicate_{k}gram_chars"] for k in range(5, 11)]
    assert [share > 0 for share in shares] == [k <= n for k in range(5, 11)]


def test_documents_of_a_batch_do_not_see_each_other() -> None:
    texts = ["one two three four five six\n\nseven"] * 50
    batch = Batch.of(texts)
    assert not any(column.any() for column in repetition_columns(batch.text, batch.words).values())


def test_quality_texts(data: Path) -> None:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    check(Batch.of(texts), texts)
