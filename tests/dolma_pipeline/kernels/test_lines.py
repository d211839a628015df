"""Lines are `str.split("\\n")`; paragraphs what stands between two newlines, stripped."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.lines import BLANK, split_lines, split_paragraphs
from dolma_pipeline.kernels.tables import TextBuffers, Tokens

ANY_CHARACTER = st.characters(exclude_categories=("Cs",))
PIECES = st.sampled_from(
    ["\n", "\n\n", "\n\n\n", "\r\n", " ", "\t", "\x0b", "\x85", "\u2028", "\u3000", "a", "é", "😀", "a line"]
)
TEXT = st.lists(PIECES | st.text(ANY_CHARACTER, max_size=20), max_size=30).map("".join)


def plain_paragraphs(text: str) -> list[str]:
    return [piece.strip() for piece in text.split("\n\n") if piece.strip()]


def pieces_of(text: TextBuffers, table: Tokens, row: int) -> list[str]:
    data = text.data.tobytes()
    return [data[table.starts[i] : table.ends[i]].decode() for i in range(table.rows[row], table.rows[row + 1])]


def check(batch: Batch, texts: list[str]) -> None:
    lines, paragraphs = split_lines(batch.text), split_paragraphs(batch.text)
    for row, text in enumerate(texts):
        for table, expected in ((lines, text.split("\n")), (paragraphs, plain_paragraphs(text))):
            assert pieces_of(batch.text, table, row) == expected
            part = slice(table.rows[row], table.rows[row + 1])
            assert table.chars[part].tolist() == [len(piece) for piece in expected]
        part = slice(lines.rows[row], lines.rows[row + 1])
        assert [bool(flag & BLANK) for flag in lines.flags[part]] == [not line.strip() for line in text.split("\n")]
    assert lines.rows[-1] == len(lines.starts)
    assert paragraphs.rows[-1] == len(paragraphs.starts)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_lines_and_paragraphs_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts), texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=6))
def test_a_slice_gives_the_lines_of_its_own_rows(texts: list[str]) -> None:
    check(Batch(Batch.of(texts).table.slice(2)), texts[2:])


@pytest.mark.parametrize(
    ("text", "lines", "paragraphs"),
    [
        ("", [""], []),
        ("\n", ["", ""], []),
        ("a\n", ["a", ""], ["a"]),
        ("a\n\nb", ["a", "", "b"], ["a", "b"]),
        ("a\n \nb", ["a", " ", "b"], ["a\n \nb"]),
        (" a \n\n\n\n b\n", [" a ", "", "", "", " b", ""], ["a", "b"]),
        ("a\r\n\r\nb", ["a\r", "\r", "b"], ["a\r\n\r\nb"]),
    ],
)
def test_what_a_line_and_a_paragraph_are(text: str, lines: list[str], paragraphs: list[str]) -> None:
    batch = Batch.of([text])
    assert pieces_of(batch.text, split_lines(batch.text), 0) == lines
    assert pieces_of(batch.text, split_paragraphs(batch.text), 0) == paragraphs


def test_an_empty_batch_has_no_lines() -> None:
    assert split_lines(Batch.of([]).text).rows.tolist() == [0]
    assert split_paragraphs(Batch.of([]).text).rows.tolist() == [0]


def test_paragraphs_are_hashed_and_lines_are_not() -> None:
    batch = Batch.of(["one line\n\nönë line\n\none line", "one line"])
    hashes = split_paragraphs(batch.text).hashes
    assert hashes[0] == hashes[2] == hashes[3] != hashes[1]
    assert hashes[0] == hash_bytes(np.frombuffer(b"one line", np.uint8), 0, 8)
    assert len(split_lines(batch.text).hashes) == 0


def test_tables_are_read_only() -> None:
    text = Batch.of(["a\n\nb"]).text
    assert not any(column.flags.writeable for table in (split_lines(text), split_paragraphs(text)) for column in table)


def test_real_texts_of_every_kind(data: Path) -> None:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    check(Batch.of(texts), texts)
