"""The class table says what Python's `str` and `re` say, for every code point; decoding is Python's."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dolma_pipeline.kernels.unicode import ALPHA, NUM_CODE_POINTS, SPACE, WORD, before, class_table, decode

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
