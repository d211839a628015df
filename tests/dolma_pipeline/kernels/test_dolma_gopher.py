"""Dolma's Gopher numbers against a plain twin over all of Unicode, and in batches that are slices."""

from __future__ import annotations

import re
from collections import Counter
from statistics import median

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.dolma_gopher import COLUMNS, COUNTS, dolma_gopher_columns
from dolma_pipeline.kernels.words import STOP_WORDS

FEW_WORDS = ["a", "b", "the", "The", "(of", "be", "#c", "d…", "e...", "ß", "-", "*", "\n", "\n\n", "…\n", "- f\n"]
texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=60),
    st.lists(st.sampled_from(FEW_WORDS), max_size=60).map(" ".join),
    st.lists(st.sampled_from(["one", "two", "\n", " "]), max_size=40).map("".join),
)


def plain(text: str, *, over_words: bool) -> dict[str, float]:
    """The twin."""
    words, found = text.split(), dict.fromkeys(COLUMNS, 0.0)
    found["character_count"], found["word_count"] = len(text), len(words)
    if not text:
        return found
    word_chars = sum(map(len, words))
    if words:
        found["median_word_length"] = median(map(len, words))
        found["symbol_to_word_ratio"] = sum("#" in word or "…" in word for word in words) / len(words)
        with_letter = sum(any(map(str.isalpha, word)) for word in words)
        found["fraction_of_words_with_alpha_character"] = with_letter / len(words)
        found["required_word_count"] = sum(word in STOP_WORDS for word in words)
    for n in range(2, 11):
        ngrams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
        counts = Counter(ngrams)
        covered = {ngram: count * sum(map(len, ngram)) for ngram, count in counts.items()}
        if not ngrams:
            continue
        if n <= 4:
            top = max(counts, key=lambda ngram: counts[ngram])
            found[f"fraction_of_characters_in_most_common_{n}grams"] = covered[top] / word_chars
        else:
            repeated = sum(covered[ngram] for ngram in counts if counts[ngram] > 1)
            found[f"fraction_of_characters_in_duplicate_{n}grams"] = repeated / sum(covered.values())
    lines = re.split("\n+", text)
    repeated_lines = [line for line in lines if lines.count(line) > 1]
    below = max(1, word_chars if over_words else sum(map(len, lines)))
    found["fraction_of_lines_starting_with_bullet_point"] = sum(line[:1] in ("*", "-") for line in lines) / len(lines)
    found["fraction_of_lines_ending_with_ellipsis"] = sum(line[-1:] == "…" for line in lines) / len(lines)
    found["fraction_of_duplicate_lines"] = len(repeated_lines) / len(lines)
    found["fraction_of_characters_in_duplicate_lines"] = sum(map(len, repeated_lines)) / below
    return found


def columns(batch: Batch, *, over_words: bool) -> list[dict[str, float]]:
    found = dolma_gopher_columns(batch.text, batch.words, batch.lines, chars=batch.chars, over_words=over_words)
    assert list(found) == list(COLUMNS)
    assert {name for name, column in found.items() if column.dtype == np.int64} == set(COUNTS)
    return [dict(zip(found, row, strict=True)) for row in zip(*(one.tolist() for one in found.values()), strict=True)]


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), st.booleans())
@example(["a b a b c d c d", "x y z x y z w v u w v u"], True)
@example(["\n", "\n\n", "\na\n", "a", " "], False)
def test_columns_are_those_of_the_twin(some: list[str], over_words: bool) -> None:
    batch = Batch.of(some)
    expected = [plain(text, over_words=over_words) for text in some]
    assert columns(batch, over_words=over_words) == expected
    rest = Batch(batch.table.slice(1))
    assert columns(rest, over_words=over_words) == expected[1:]


def test_long_words_and_many_lines() -> None:
    some = [" ".join("x" * n for n in (300, 400, 500, 2)), "\n".join(["a b"] * 5_000), "\n" * 5_000]
    assert columns(Batch.of(some), over_words=True) == [plain(text, over_words=True) for text in some[:1]] + [
        plain_of_equal_lines(5_000),
        plain("\n", over_words=True) | {"character_count": 5_000},
    ]


def plain_of_equal_lines(count: int) -> dict[str, float]:
    """Of `a b` in so many lines, without counting each of them."""
    found = dict.fromkeys(COLUMNS, 0.0) | {name: 1.0 for name in COLUMNS if "duplicate" in name}
    found |= {"character_count": 4 * count - 1, "word_count": 2 * count, "median_word_length": 1.0}
    found["fraction_of_words_with_alpha_character"] = 1.0
    found["fraction_of_characters_in_duplicate_lines"] = 3 / 2
    pairs = {2: count, 3: count - 1, 4: count - 1}
    return found | {f"fraction_of_characters_in_most_common_{n}grams": n * pairs[n] / (2 * count) for n in pairs}
