"""Words are `str.split()`, on all of Unicode, in slices, on real documents; flags are what plain Python says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.hashing import hash_bytes
from dolma_pipeline.kernels.tables import TextBuffers, Tokens
from dolma_pipeline.kernels.words import ALPHA, ELLIPSIS, HASH, LINE_START, STOP_SHIFT, STOP_WORDS, split_words

ANY_CHARACTER = st.characters(exclude_categories=("Cs",))
SPACES = " \n\t\x0b\x1c\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = "\x00\x7f\u200baZ09_#.…'\"-(é中😀"
PARTS = ("...", "The", "the ", "to", "OF,", "(that", "with...", "have", "internationalisation", "aaaaaaaa", "  ")
PIECES = st.sampled_from([*SPACES, *NO_SPACES, *PARTS])
TEXT = st.lists(PIECES | ANY_CHARACTER | st.text(ANY_CHARACTER, max_size=12), max_size=40).map("".join)


def plain_flags(word: str) -> int:
    core = re.sub(r"^\W+|\W+$", "", word).lower()
    return (
        ALPHA * any(map(str.isalpha, word))
        + HASH * ("#" in word)
        + ELLIPSIS * ("..." in word or "…" in word)
        + ((STOP_WORDS.index(core) + 1 if core in STOP_WORDS else 0) << STOP_SHIFT)
    )


def words_of(text: TextBuffers, words: Tokens, row: int) -> list[str]:
    data = text.data.tobytes()
    return [data[words.starts[w] : words.ends[w]].decode() for w in range(words.rows[row], words.rows[row + 1])]


def check(batch: Batch, texts: list[str], *, flags: bool = True) -> None:
    words = split_words(batch.text)
    assert len(words.rows) == len(texts) + 1
    for row, text in enumerate(texts):
        expected = text.split()
        assert words_of(batch.text, words, row) == expected
        part = slice(words.rows[row], words.rows[row + 1])
        assert words.chars[part].tolist() == [len(word) for word in expected]
        if flags:
            lines = [line.split() for line in text.split("\n")]
            first = [LINE_START * (place == 0) for line in lines for place in range(len(line))]
            assert words.flags[part].tolist() == [plain_flags(w) + at for w, at in zip(expected, first, strict=True)]


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_words_and_flags_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts), texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=6))
def test_a_slice_gives_the_words_of_its_own_rows(texts: list[str]) -> None:
    batch = Batch(Batch.of(texts).table.slice(1, len(texts) - 2))
    check(batch, texts[1:-1])


def test_every_space_cuts_and_nothing_else_does() -> None:
    texts = [f"ab{chr(p)}cd" for p in [*range(0x3100), *range(0xFE00, 0x10000), 0x1F600, 0xE0020]]
    check(Batch.of(texts), texts)


def test_hashes_are_those_of_the_bytes_by_every_path() -> None:
    texts = [
        "a",
        "sevens1",
        "eight888",
        "nine99999",
        "0123456789abcdef",
        "0123456789abcdefg",
        "naïve",
        "中文字符串很长",
        "ab\x01c",
    ]
    together = Batch.of([" ".join([*texts, "and a long tail of words"])])  # words in the middle of a text
    alone = Batch.of(texts)  # words at its end, where eight bytes cannot be read at once
    middle, end = split_words(together.text).hashes[: len(texts)], split_words(alone.text).hashes
    expected = [hash_bytes(np.frombuffer(text.encode(), np.uint8), 0, len(text.encode())) for text in texts]
    assert middle.tolist() == end.tolist() == [int(h) for h in expected]


@pytest.mark.parametrize("before", ["", "(", "\"'", "«", "#", "........."])
@pytest.mark.parametrize("after", ["", ",", "…", "!?!?!?!?", "»."])
def test_stop_words_are_found_in_either_case_and_in_punctuation(before: str, after: str) -> None:
    for place, stop_word in enumerate(STOP_WORDS, 1):
        for word in (stop_word, stop_word.upper(), stop_word.title()):
            [flag] = split_words(Batch.of([before + word + after]).text).flags
            assert flag >> STOP_SHIFT == place


@pytest.mark.parametrize(
    "word", ["then", "re-to", "b-e", "t", "o_f", "tо", "havé", "th\u200be", "a.n.d", "wıth", "_to", "2be"]
)
def test_other_words_are_no_stop_words(word: str) -> None:
    for text in (word, f"{word}, and longer"):
        assert split_words(Batch.of([text]).text).flags[0] >> STOP_SHIFT == 0


def test_empty_and_blank_texts_have_no_words() -> None:
    texts = ["", " ", "\n\t\u3000", "a", ""]
    words = split_words(Batch.of(texts).text)
    assert words.rows.tolist() == [0, 0, 0, 0, 1, 1]
    assert split_words(Batch.of([]).text).rows.tolist() == [0]


def test_tables_grow_where_words_are_shorter_than_usual() -> None:
    texts = ["a " * 5000, "", "b " * 3, "c " * 20_000]
    check(Batch.of(texts), texts)


def test_the_table_has_the_promised_types_and_is_read_only() -> None:
    words = split_words(Batch.of(["a b"]).text)
    assert [column.dtype for column in words] == ["i8", "i4", "i4", "u8", "i4", "u1"]
    assert not any(column.flags.writeable for column in words)


def test_all_documents_split_as_python_splits_them(all_texts: list[str]) -> None:
    for first in range(0, len(all_texts), 1000):
        part = all_texts[first : first + 1000]
        check(Batch.of(part), part, flags=False)
    sample = all_texts[::20]
    check(Batch.of(sample), sample)
