"""The class table says what Python's `str` and `re` say, for every code point; decoding is Python's."""

from __future__ import annotations

import re
import unicodedata

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.kernels.unicode import (
    ALPHA,
    NUM_CODE_POINTS,
    SPACE,
    UNSPACED_BLOCKS,
    UNSPACED_LETTER,
    UNSPACED_MARK,
    WORD,
    before,
    class_table,
    decode,
    unspaced_table,
)

EVERY = [chr(point) for point in range(NUM_CODE_POINTS)]


@pytest.mark.parametrize(
    ("bit", "says"),
    [(SPACE, str.isspace), (ALPHA, str.isalpha), (WORD, lambda char: char.isalnum() or char == "_")],
    ids=["space", "alpha", "word"],
)
def test_a_bit_is_what_str_says_of_every_code_point(bit: int, says) -> None:
    expected = np.fromiter(map(says, EVERY), bool, NUM_CODE_POINTS)
    assert np.flatnonzero((class_table() & bit != 0) != expected).tolist() == []


def test_the_word_bit_is_what_re_matches_and_the_space_bit_what_split_cuts() -> None:
    table = class_table()
    plain = [char for char in EVERY if not 0xD800 <= ord(char) < 0xE000]
    assert {ord(char) for char in plain if not f"a{char}b".split()[1:]} == {
        ord(char) for char in plain if not table[ord(char)] & SPACE
    }
    assert all(bool(re.fullmatch(r"\w", char)) == bool(table[ord(char)] & WORD) for char in plain)


def test_the_table_is_shared_and_cannot_be_changed() -> None:
    table = class_table()
    assert table is class_table()
    assert (table.dtype, table.shape) == (np.uint8, (NUM_CODE_POINTS,))
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_decode_reads_forwards_and_before_steps_back_over_every_length() -> None:
    chars = "a\x7f\x80é߿ࠀ€\uffff\U00010000😀\U0010ffff"
    data = np.frombuffer(chars.encode(), np.uint8)
    at, sizes = 0, []
    for char in chars:
        point, size = decode(data, at)
        assert (chr(point), size) == (char, len(char.encode()))
        at += size
        sizes.append(size)
    for size in reversed(sizes):
        assert before(data, at) == at - size
        at -= size


UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
SHARED_LETTERS = {0x3006, *range(0x3031, 0x3036), 0x303C, 0x30FC, 0xFF70, 0xFF9E, 0xFF9F}
"""Letters that Unicode gives to no single script, but that stand in Japanese and Chinese only: signs of repetition,
length and voice."""
SHARED_MARKS = {*range(0x302A, 0x3030), 0x3099, 0x309A}


def test_letters_and_marks_of_unspaced_scripts_are_those_of_another_unicode_table() -> None:
    """RE2, in DuckDB, knows the script of each code point (the standard library does not)."""
    chars = pa.table({"char": [char for char in EVERY[1:] if not 0xD800 <= ord(char) < 0xE000]})
    scripts = "".join(rf"\p{{{name}}}" for name in UNSPACED)
    found = duckdb.sql(f"SELECT char FROM chars WHERE regexp_matches(char, '[{scripts}]')").fetchall()
    kinds = {ord(char): unicodedata.category(char) for (char,) in found}
    letters = {point for point, kind in kinds.items() if kind in ("Lo", "Lm", "Nl")}
    marks = {point for point, kind in kinds.items() if kind in ("Mn", "Mc")} - {0x16FF0, 0x16FF1}  # of Vietnamese
    assert len(letters) > 90_000
    assert len(marks) > 200
    known = {point for point in range(NUM_CODE_POINTS) if point in kinds or point in SHARED_LETTERS | SHARED_MARKS}
    table = unspaced_table()
    assert {*np.flatnonzero(table == UNSPACED_LETTER).tolist()} & known == letters | SHARED_LETTERS
    assert {*np.flatnonzero(table == UNSPACED_MARK).tolist()} & known == marks | SHARED_MARKS
    newer = {*np.flatnonzero(table).tolist()} - known  # of a Python with a newer Unicode
    assert all(unicodedata.name(chr(point)).startswith(("CJK UNIFIED", "MYANMAR", "LAO")) for point in newer)
    assert len(chars) == NUM_CODE_POINTS - 0x800 - 1


@pytest.mark.parametrize(
    "text", ["hangul 한국어", "Жизнь", "नदी", "مدينة", "ქართული", "１２３", "ＡＢＣ", "๑๒៣၄", "。、「」", "ㄅㄆ"]
)
def test_other_scripts_and_digits_are_none_of_them(text: str) -> None:
    assert not unspaced_table()[[ord(char) for char in text]].any()


def test_their_letters_are_word_characters_and_their_marks_are_not() -> None:
    word = class_table() & WORD != 0
    assert word[unspaced_table() == UNSPACED_LETTER].all()
    assert not word[unspaced_table() == UNSPACED_MARK].any()


def test_the_blocks_are_in_order_and_apart() -> None:
    ends = [end for block in UNSPACED_BLOCKS for end in block]
    assert ends == sorted(ends)
    assert ends[0] >= 0x800  # three bytes of UTF-8 or four
