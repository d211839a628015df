"""Each bit says of its byte what plain Python says of its character, across blocks, in slices, at the buffer's end."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.bitmaps import _ASCII_MARKS, find_bitmaps, last_block
from dolma_pipeline.kernels.sentence_marks import mark_table
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.kernels.unicode import WORD, class_table

MARKS = mark_table()
ANY = st.characters(exclude_categories=("Cs",))
PIECES = st.sampled_from(
    [*" \n\t\x1c\x85\xa0\u2003\u3000\x00#.…!?\"')]}。”é中😀aZ09_", "...", "a" * 61, " " * 62, "é" * 31]
)
TEXT = st.lists(PIECES | ANY, max_size=40).map("".join)


def plain(text: str) -> dict[str, list[int]]:
    """Name -> bytes whose bits are set; of `odd` those that must be."""
    found: dict[str, list[int]] = {name: [] for name in ("space", "newline", "letter", "word", "more", "mark", "odd")}
    at = 0
    for i, char in enumerate(text):
        size = len(char.encode())
        found["space"] += range(at, at + size * char.isspace())
        found["more"] += range(at + 1, at + size)
        for name, holds in {
            "newline": char == "\n",
            "letter": char.isalpha(),
            "word": re.match(r"\w", char),
            "mark": MARKS[ord(char)],
            "odd": char in "#…" or text[i : i + 3] == "...",
        }.items():
            found[name] += [at] * bool(holds)
        at += size
    return found


def check(text: TextBuffers, expected: str) -> None:
    size = len(expected.encode())
    maps, wanted = find_bitmaps(text), plain(expected)
    for name, bits in maps._asdict().items():
        assert bits.dtype == np.uint64
        assert not bits.flags.writeable
        places = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")[:size]).tolist()
        if name == "odd":
            assert {*wanted[name]} <= {*places}
            assert all(expected.encode()[at] in b"#.\xe2" for at in places)
        else:
            assert places == wanted[name], name


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_every_bit_is_what_python_says(texts: list[str]) -> None:
    batch = Batch.of(texts)
    check(batch.text, "".join(texts))
    check(Batch(batch.table.slice(1)).text, "".join(texts[1:]))


def test_every_character_in_every_place_of_a_block() -> None:
    points = [*range(0x3100), *range(0xA000, 0xA800), *range(0xFE00, 0x10000), 0x1F600, 0xE0020]
    for places in (0, 61, 62, 63):
        text = "a" * places + "".join(map(chr, points))
        check(Batch.of([text]).text, text)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 127, 128])
def test_nothing_behind_the_text_is_read(size: int) -> None:
    content = np.frombuffer(b"x" * size, np.uint8)
    text = TextBuffers(np.array([0, size], np.int32), content)
    whole, end = last_block(text)
    assert whole == size // 64
    assert end.tobytes() == (b"x" * (size % 64)).ljust(128, b"\0")
    check(text, "x" * size)


def test_no_mark_is_a_word_character_and_the_ascii_ones_are_all_there() -> None:
    """Sentences are counted by marks: what stands before one is no part of it."""
    assert not ((MARKS != 0) & (class_table() & WORD != 0)).any()
    assert [*map(int, _ASCII_MARKS)] == sorted({*map(int, _ASCII_MARKS)}, key=[*map(int, _ASCII_MARKS)].index)
    assert {*map(int, _ASCII_MARKS)} == {*np.flatnonzero(MARKS[:128]).tolist()}


def test_a_column_without_text_has_no_bits() -> None:
    empty = Batch(Batch.of(["a"]).table.slice(1))
    assert not any(bits.any() for bits in find_bitmaps(empty.text))
    assert pa.types.is_string(empty.table.column("text").type)
