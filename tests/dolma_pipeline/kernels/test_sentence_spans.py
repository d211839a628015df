"""Sentences against plain Python."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.kernels.sentence_spans import CLOSING, FULL_WIDTH, MARKS, split_sentences

END = re.compile(f"[{re.escape(MARKS)}]+[{re.escape(CLOSING)}]*")


def plain(text: str) -> list[str]:
    found = []
    for line in text.split("\n"):
        start = 0
        for mark in END.finditer(line):
            follows = line[mark.end() : mark.end() + 1]
            if follows.isspace() or any(char in FULL_WIDTH for char in mark[0]):
                found.append(line[start : mark.end()])
                start = mark.end()
        found.append(line[start:])
    return [sentence.strip() for sentence in found if sentence.strip()]


def check(texts: list[str]) -> None:
    column = text_buffers(pa.array(texts, pa.string()))
    table = split_sentences(column)
    data = column.data.tobytes()
    for i, text in enumerate(texts):
        own = range(table.rows[i], table.rows[i + 1])
        assert [data[table.starts[k] : table.ends[k]].decode() for k in own] == plain(text)
        assert [table.chars[k] for k in own] == [len(sentence) for sentence in plain(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three", ["One.", "Two?", "Three"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("3.14 is not two. v1.2", ["3.14 is not two.", "v1.2"]),
        ("今天很好。我们走吧！好", ["今天很好。", "我们走吧！", "好"]),
        ("「はい。」と言った。", ["「はい。」", "と言った。"]),
        ("Wait... what?!  Yes…\u00a0No", ["Wait...", "what?!", "Yes…", "No"]),
        ("a\n\n b.\r\n.", ["a", "b.", "."]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_known_texts(text: str, sentences: list[str]) -> None:
    assert plain(text) == sentences
    check([text])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text() | st.text('ab .!?…。！？"”)]\n é漢'), max_size=4))
def test_any_text(texts: list[str]) -> None:
    check(texts)


def test_slices() -> None:
    array = pa.array(["One. Two", "Drei. Vier", "。"])
    table = split_sentences(text_buffers(array.slice(1, 1)))
    assert table.rows.tolist() == [0, 2]
    assert table.starts.tolist() == [8, 14]


def test_all_real_text(all_texts: list[str]) -> None:
    check(all_texts[::40])
