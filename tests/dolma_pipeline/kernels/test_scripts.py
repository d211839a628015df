"""The groups of code points against Python's own `str` and `unicodedata`, for every code point there is."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from dolma_pipeline.kernels.kinds import KINDS, SCRIPTS
from dolma_pipeline.kernels.scripts import group_kinds, group_table


def is_kind(kind: str) -> np.ndarray:
    return group_kinds()[group_table(), KINDS.index(kind)].astype(bool)


def test_kinds_are_those_of_python() -> None:
    chars = list(map(chr, range(0x110000)))
    categories = np.array(list(map(unicodedata.category, chars)))
    main = np.array([category[0] for category in categories])
    spaces = np.array(list(map(str.isspace, chars)))
    assert np.array_equal(is_kind("letter"), list(map(str.isalpha, chars)))
    assert np.array_equal(is_kind("upper"), list(map(str.isupper, chars)))
    assert np.array_equal(is_kind("space"), spaces)
    assert np.array_equal(is_kind("digit"), categories == "Nd")
    numeric = np.array(list(map(str.isalnum, chars))) & ~np.array(list(map(str.isalpha, chars)))
    assert np.array_equal(is_kind("numeric"), numeric)
    assert np.array_equal(is_kind("punctuation"), main == "P")
    replaced = np.arange(0x110000) == 0xFFFD
    assert np.array_equal(is_kind("replacement"), replaced)
    assert np.array_equal(is_kind("symbol"), (main == "S") & ~replaced)
    hidden = np.isin(categories, ["Cc", "Cf", "Co", "Cn"]) & ~spaces
    hidden[0x200C:0x2010] = False
    assert np.array_equal(is_kind("nonprinting"), hidden)


def test_a_letter_is_of_one_script_and_nothing_else_is_of_any() -> None:
    assert np.array_equal(sum(is_kind(script).astype(int) for script in SCRIPTS), is_kind("letter").astype(int))


@pytest.mark.parametrize(
    ("script", "letters"),
    [
        ("latin", "aZßéĀſẞꝏﬁＡ"),
        ("greek", "αΩἀ"),
        ("cyrillic", "яЁѣꙀ"),
        ("hangul", "한ㄱᄀﾡ"),
        ("hiragana", "あゟ"),
        ("katakana", "アㇰｱ"),
        ("han", "好㐀豈𠀀"),
        ("arabic", "نﷲ"),
        ("hebrew", "דﬡ"),
        ("devanagari", "ऋ"),
        ("thai", "เป"),
        ("other", "ᚠ𐌰𝕳ª"),
    ],
)
def test_scripts_of_letters(script: str, letters: str) -> None:
    table = is_kind(script)
    assert [letter for letter in letters if not table[ord(letter)]] == []
