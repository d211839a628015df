"""Sentences are found and counted as by a few lines of plain Python, on any Unicode, in slices and on real text."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.sentence_marks import CLOSING, SENTENCE_TERMINAL, TERMINAL, mark_table
from dolma_pipeline.kernels.sentences import count_paragraphs_and_sentences, split_sentences

TERMINALS = "".join(chr(point) for first, last in SENTENCE_TERMINAL for point in range(first, last + 1))
CLOSERS = "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Pe", "Pf")) + "\"'"
PIECES = st.sampled_from([*' \n.?!。؟।”")]aé1_語', " ", "\n\n", "\n\n\n", ". ", "...", "。 "])
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=4), max_size=40).map("".join)


END = re.compile(f"[{re.escape(TERMINALS)}][{re.escape(TERMINALS + CLOSERS)}]*")
SPACED = frozenset(".!?" + CLOSERS)


def plain_sentences(text: str) -> list[str]:
    pieces = []
    for paragraph in text.split("\n\n"):
        start = 0
        for marks in END.finditer(paragraph):
            follows = paragraph[marks.end() : marks.end() + 1]
            if not follows or follows.isspace() or not SPACED.issuperset(marks[0]):
                pieces.append(paragraph[start : marks.end()])
                start = marks.end()
        pieces.append(paragraph[start:])
    return [piece.strip() for piece in pieces if re.search(r"\w", piece)]


def found(batch: Batch) -> list[list[str]]:
    """The sentences of each document, of which as many are counted."""
    paragraphs, counts = count_paragraphs_and_sentences(batch.text, batch.bitmaps)
    assert paragraphs.dtype == counts.dtype == np.int64
    texts = batch.strings
    assert paragraphs.tolist() == [sum(bool(one.strip()) for one in text.split("\n\n")) for text in texts]
    table = split_sentences(batch.text, batch.bitmaps)
    assert np.diff(table.rows).tolist() == counts.tolist()
    assert table.rows[0] == 0
    assert len(table.starts) == table.rows[-1]
    data, ends = batch.text.data.tobytes(), table.ends.tolist()
    sentences = [data[start:end].decode() for start, end in zip(table.starts.tolist(), ends, strict=True)]
    assert table.chars.tolist() == [*map(len, sentences)]
    assert not table.flags.any()
    return [sentences[table.rows[i] : table.rows[i + 1]] for i in range(len(texts))]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    expected = [*map(plain_sentences, texts)]
    batch = Batch.of(texts)
    assert found(batch) == expected
    assert found(Batch(batch.table.slice(1))) == expected[1:]
    for text, one in zip(texts, expected, strict=True):
        assert found(Batch.of([text])) == [one]


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_the_rules(text: str) -> None:
    batch = Batch.of([text])
    table = split_sentences(batch.text, batch.bitmaps)
    data, behind = text.encode(), 0
    for start, end, of_bytes in zip(table.starts.tolist(), table.ends.tolist(), table.hashes.tolist(), strict=True):
        sentence = data[start:end].decode()
        assert start >= behind
        assert sentence == sentence.strip()
        assert "\n\n" not in sentence
        assert re.search(r"\w", sentence)
        assert not re.search(rf"[.!?][{re.escape(CLOSERS)}]*\s", sentence)  # it would have ended there
        assert not re.search(rf"[{re.escape(TERMINALS[3:])}].*\w", sentence, re.DOTALL)
        assert not re.search(r"\w", data[behind:start].decode())  # no word is left out
        assert of_bytes == hash_bytes(batch.text.data, start, end)
        behind = end
    assert not re.search(r"\w", data[behind:].decode())


def test_equal_to_plain_python_on_real_text(all_texts: list[str]) -> None:
    texts = [text[:3000] for text in all_texts[::20]]
    assert found(Batch.of(texts)) == [*map(plain_sentences, texts)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n\t", []),
        ("... !?", []),
        ("A heading", ["A heading"]),
        ("A heading\n\nIts text. And more", ["A heading", "Its text.", "And more"]),
        ("Two lines\nof one sentence", ["Two lines\nof one sentence"]),
        ("He paid 3.50 at a.b.com today.", ["He paid 3.50 at a.b.com today."]),
        ("“Is it?” he asked. (It was.)", ["“Is it?”", "he asked.", "(It was.)"]),
        ("Wait... what?!", ["Wait...", "what?!"]),
        ("- !!! One. *** Two\n\n***\n\n—", ["One.", "*** Two"]),
        ("今日は雨です。明日は晴れる！本当？", ["今日は雨です。", "明日は晴れる！", "本当？"]),
        ("「はい。」と言った。。　「", ["「はい。」", "と言った。。"]),
        ("。？♪ la", ["♪ la"]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("هل هذا صحيح؟ نعم.", ["هل هذا صحيح؟", "نعم."]),
        ("Це перше. Це друге!", ["Це перше.", "Це друге!"]),
    ],
)
def test_what_a_sentence_is(text: str, sentences: list[str]) -> None:
    assert plain_sentences(text) == sentences
    assert found(Batch.of([text])) == [sentences]


@pytest.mark.parametrize(
    "text", ["a" * 2_000_000, "a." * 1_000_000, "\n" * 2_000_000, "。)" * 500_000, "é。" * 500_000]
)
def test_long_texts_take_linear_time(text: str) -> None:
    assert len(found(Batch.of([text]))[0]) in (0, 1, 500_000)


def test_the_marks() -> None:
    table = mark_table()
    assert np.flatnonzero(table & TERMINAL).tolist() == sorted(map(ord, TERMINALS))
    assert np.flatnonzero(table & CLOSING).tolist() == sorted(map(ord, CLOSERS))
    assert {unicodedata.category(char) for char in TERMINALS} <= {"Po", "Cn", "So", "Pd"}
    assert len(TERMINALS) == 172
    assert not set(TERMINALS) & set(CLOSERS)
