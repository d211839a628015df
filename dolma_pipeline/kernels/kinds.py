"""The kinds of characters that are told apart: names alone, so that a tagger may have them without loading numba.

What each means, and which kinds a code point is of, stands in `kernels.scripts`.
"""

from __future__ import annotations

SCRIPTS = (
    "latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "devanagari", "bengali", "gurmukhi",
    "gujarati", "oriya", "tamil", "telugu", "kannada", "malayalam", "sinhala", "thai", "lao", "tibetan", "myanmar",
    "khmer", "ethiopic", "mongolian", "hangul", "hiragana", "katakana", "han", "other",
)  # fmt: skip
"""Scripts that are told apart, by their Unicode names, and `other`. Each is a kind of its letters (`str.isalpha`)."""

SHAPES = ("letter", "upper", "digit", "punctuation", "symbol", "space", "nonprinting", "replacement")
"""letter, upper, space: as `str.isalpha`, `isupper`, `isspace`; digit: general category Nd; punctuation: P; symbol: S,
but for U+FFFD, which alone is replacement; nonprinting: Cc, Cf, Co, Cn but for white space and U+200C to U+200F, the
joiners and direction marks that Persian, Hindi, Hebrew and emoji are written with."""

KINDS = (*SHAPES, *SCRIPTS, "numeric")
"""All of them, in the order of columns in `kernels.characters`; numeric: `str.isalnum` and no letter."""
