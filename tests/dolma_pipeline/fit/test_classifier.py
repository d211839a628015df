"""Lines against fastText's own reader; training is the same each time."""

from __future__ import annotations

import re
from pathlib import Path

import fasttext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.fit.classifier import ClassifierSettings, line_of, train

TEXTS = st.text(
    st.sampled_from(" \t\n\v\f\r\0\x85\xa0\u2028ab") | st.characters(exclude_categories=["Cs"]), max_size=30
) | st.lists(st.sampled_from(["</s>", "</s>x", "__label__", "__label__a", "a", " ", "\n", "\xa0"])).map("".join)


@given(TEXTS)
def test_a_line_is_the_words_that_fasttext_reads(text: str) -> None:
    words = fasttext.tokenize(re.sub("[\n\0]", " ", text))  # where fastText's tokenizer would stop
    words = words[: words.index("</s>")] if "</s>" in words else words
    assert line_of(text, max_chars=0).split(" ") == ([w for w in words if not w.startswith("__label__")] or [""])


@given(TEXTS, st.integers(1, 12))
def test_max_chars_are_code_points(text: str, most: int) -> None:
    assert line_of(text, max_chars=most) == line_of(text[:most], max_chars=0)


def lines(path: Path, number: int = 60) -> Path:
    rows = [
        f"__label__{'positive' if i % 2 else 'negative'} "
        + " ".join(f"w{(i * j) % 17 + 9 * (i % 2)}" for j in range(12))
        for i in range(number)
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


SMALL = ClassifierSettings(dim=8, buckets=1000, min_count=1)


def test_the_same_lines_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(lines(tmp_path / f"{name}.txt"), SMALL, seed=seed).save_model(str(tmp_path / name))
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_no_frequent_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no word is in the documents 500 times\. Give a lower --min-count"):
        train(lines(tmp_path / "lines"), ClassifierSettings(dim=8, buckets=1000, min_count=500), seed=1)


def test_a_model_that_no_memory_holds(tmp_path: Path) -> None:
    huge = ClassifierSettings(dim=2_000_000_000, buckets=2_000_000_000, min_count=1)
    with pytest.raises(UsageError, match=r"16,000,000,000\.0 GB\. Give a lower --dim or --buckets"):
        train(lines(tmp_path / "lines"), huge, seed=1)


def test_a_rate_that_is_too_high(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did not converge at a rate of 1e\+30\. Give a lower --lr"):
        train(lines(tmp_path / "lines"), ClassifierSettings(dim=8, buckets=1000, min_count=1, lr=1e30), seed=1)
