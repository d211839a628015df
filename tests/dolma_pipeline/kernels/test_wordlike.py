"""Characters in words against plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.kernels.wordlike import wordlike


def kind(char: str) -> str:
    if char.isascii():
        return "letter" if char.isalpha() else "joining" if char in "'-" else "other"
    if char.isalpha():
        return "far"
    return (
        "joining" if char in "’·\xad" else "mark" if "\u0300" <= char < "\u2000" or char in "\u200c\u200d" else "other"
    )


def plain(text: str) -> tuple[int, int]:
    in_words = 0
    for word in text.split():
        kinds = [kind(char) for char in word]
        while kinds and kinds[0] in ("joining", "other"):
            kinds.pop(0)
        while kinds and kinds[-1] in ("joining", "other"):
            kinds.pop()
        if "letter" not in kinds and "far" not in kinds:
            continue
        if "other" not in kinds:
            in_words += len(kinds)
        elif "far" in kinds:
            in_words += sum(one in ("far", "mark") for one in kinds)
    return in_words, sum(not char.isspace() for char in text)


def check(texts: list[str], max_chars: int = 0) -> None:
    found = wordlike(text_buffers(pa.array(texts, pa.string())), max_chars=max_chars)
    for i, text in enumerate(texts):
        assert (found.in_words[i], found.chars[i]) == plain(text[:max_chars] if max_chars else text), text[:80]


@pytest.mark.parametrize(
    ("text", "in_words", "chars"),
    [
        ("The dog's well-known bone.", 22, 23),
        ("x = foo(bar, baz_2)", 4, 16),
        ("https://example.org/ab 0x1f 12.5", 0, 30),
        ("पानी، चाय", 8, 8),
        ("今天很好。我们走。", 7, 9),
        ("(naïve) «été» col·lecció", 18, 22),
        ("'' -- 👍👍", 0, 6),
        ("a\u200db e\u0301", 5, 5),
        ("", 0, 0),
        (" \u3000\n", 0, 0),
    ],
)
def test_known_texts(text: str, in_words: int, chars: int) -> None:
    found = wordlike(text_buffers(pa.array([text])))
    assert (found.in_words[0], found.chars[0]) == (in_words, chars)
    check([text])


def test_scripts() -> None:
    found = wordlike(text_buffers(pa.array(["漢字かなカナー𠮷", "plain"])))
    assert (found.han.tolist(), found.kana.tolist()) == ([3, 0], [5, 0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text() | st.text("ab'-’.(_1 é漢か\u0301ि\n"), max_size=4), st.integers(0, 9))
def test_any_text(texts: list[str], max_chars: int) -> None:
    check(texts, max_chars)


def test_pieces_and_slices() -> None:
    array = pa.array(["one two.three", "vier fünf!"])
    whole = text_buffers(array)
    starts, ends = np.array([0, 4, 13], np.int32), np.array([3, 13, 17], np.int32)
    assert wordlike(whole, pieces=(starts, ends)).in_words.tolist() == [3, 0, 4]
    assert wordlike(text_buffers(array.slice(1))).in_words.tolist() == [8]


def test_all_real_text(all_texts: list[str]) -> None:
    check(all_texts[::40])
