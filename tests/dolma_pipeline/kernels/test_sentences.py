"""Sentences are counted as by a few lines of plain Python, on any Unicode, in slices and on real text."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.sentence_marks import CLOSING, SENTENCE_TERMINAL, TERMINAL, mark_table
from dolma_pipeline.kernels.sentences import count_paragraphs_and_sentences

TERMINALS = "".join(chr(point) for first, last in SENTENCE_TERMINAL for point in range(first, last + 1))
CLOSERS = "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Pe", "Pf")) + "\"'"
PIECES = st.sampled_from([*' \n.?!。؟।”")]aé1_語', " ", "\n\n", "\n\n\n", ". ", "...", "。 "])
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=4), max_size=40).map("".join)


def plain_sentences(text: str) -> int:
    count = 0
    for paragraph in text.split("\n\n"):
        open_ = False
        for i, char in enumerate(paragraph):
            if re.fullmatch(r"\w", char):
                open_ = True
            elif char in TERMINALS:
                rest = paragraph[i:].lstrip(TERMINALS + CLOSERS)
                if char not in ".!?" or not rest or rest[0].isspace():
                    count += open_
                    open_ = False
        count += open_
    return count


def counted(batch: Batch) -> list[int]:
    paragraphs, sentences = count_paragraphs_and_sentences(batch.text, batch.words)
    assert paragraphs.dtype == sentences.dtype == np.int64
    texts = batch.strings
    assert paragraphs.tolist() == [sum(bool(one.strip()) for one in text.split("\n\n")) for text in texts]
    return sentences.tolist()


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    expected = [*map(plain_sentences, texts)]
    batch = Batch.of(texts)
    assert counted(batch) == expected
    assert counted(Batch(batch.table.slice(1))) == expected[1:]
    for text, one in zip(texts, expected, strict=True):
        assert counted(Batch.of([text])) == [one]


def test_equal_to_plain_python_on_real_text(all_texts: list[str]) -> None:
    texts = [text[:3000] for text in all_texts[::20]]
    assert counted(Batch.of(texts)) == [*map(plain_sentences, texts)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("... !?", 0),
        ("A heading", 1),
        ("A heading\n\nIts text. And more", 3),
        ("Two lines\nof one sentence", 1),
        ("He paid 3.50 at a.b.com today.", 1),
        ("“Is it?” he asked. (It was.)", 3),
        ("Wait... what?!", 2),
        ("今日は雨です。明日は晴れる！本当？", 3),
        ("यह पहला है। यह दूसरा है।", 2),
        ("هل هذا صحيح؟ نعم.", 2),
        ("Це перше. Це друге!", 2),
    ],
)
def test_what_a_sentence_is(text: str, sentences: int) -> None:
    assert plain_sentences(text) == sentences
    assert counted(Batch.of([text])) == [sentences]


@pytest.mark.parametrize(
    "text", ["a" * 2_000_000, "a." * 1_000_000, "\n" * 2_000_000, "。)" * 500_000, "é。" * 500_000]
)
def test_long_texts_take_linear_time(text: str) -> None:
    assert counted(Batch.of([text]))[0] in (0, 1, 500_000)


def test_the_marks() -> None:
    table = mark_table()
    assert np.flatnonzero(table & TERMINAL).tolist() == sorted(map(ord, TERMINALS))
    assert np.flatnonzero(table & CLOSING).tolist() == sorted(map(ord, CLOSERS))
    assert {unicodedata.category(char) for char in TERMINALS} <= {"Po", "Cn", "So", "Pd"}
    assert len(TERMINALS) == 172
    assert not set(TERMINALS) & set(CLOSERS)
