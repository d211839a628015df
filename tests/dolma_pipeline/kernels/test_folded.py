"""Folded words with their places against a plain twin; their hashes against the one of the signatures' tests."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.folded import fold_words
from dolma_pipeline.kernels.minhash import fold_table, most_words
from tests.dolma_pipeline.kernels.test_minhash import hash_word, words_of

ANY_CHARACTER = st.characters(exclude_categories=("Cs",))
PIECES = st.sampled_from(
    [
        "a",
        "Wörter",
        " ",
        "\n",
        ".",
        "ก",
        "ำ",
        "\u0e34",
        "漢",
        "かな",
        "İ",
        "Σ",
        "_9",
        "x" * 17,
        "é",
        "😀",
        "\u0301",
        "…",
    ]
)
TEXT = st.lists(PIECES | st.text(ANY_CHARACTER, max_size=12), max_size=30).map("".join)


def placed_words(text: str) -> list[tuple[str, int, int]]:
    """Each word with the code points where it starts and ends; words are contiguous and in order."""
    found, at = [], 0
    for word in words_of(text):
        at = text.index(word, at)
        while not starts_word(text, at, word):  # the same letters, inside a longer word
            at = text.index(word, at + 1)
        found.append((word, at, at + len(word)))
        at += len(word)
    return found


def starts_word(text: str, at: int, word: str) -> bool:
    return words_of(text[at : at + len(word)]) == [word]


def folded(text: str) -> list[str]:
    return ["".join(c.lower() for c in word) for word in words_of(text)]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3))
@example(["", "?!", "x" * 40, "aΣ漢b \u0301c"])
def test_words_and_their_places(texts: list[str]) -> None:
    text = Batch.of(["before", *texts]).text
    fold, several = fold_table()
    most = most_words(text.offsets)
    hashes, starts, ends = np.zeros(most, np.uint64), np.zeros(most, np.int32), np.zeros(most, np.int32)
    data = text.data.tobytes()
    for row, own in enumerate(texts, 1):
        first, stop = int(text.offsets[row]), int(text.offsets[row + 1])
        count = fold_words(text.data, first, stop, fold, several, hashes, starts, ends)
        words = [data[starts[i] : ends[i]].decode() for i in range(count)]
        assert words == words_of(own)
        assert hashes[:count].tolist() == [hash_word(word) for word in words]
        places = [(len(data[first : starts[i]].decode()), len(data[first : ends[i]].decode())) for i in range(count)]
        assert places == [(start, end) for _, start, end in placed_words(own)]
