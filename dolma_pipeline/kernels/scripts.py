"""What kind of character every code point is: letter of which script, digit, punctuation, symbol, white space, …

A kind is a row of KINDS, and a code point may be of several (an upper-case Latin letter is of three). `group_table()`
is one byte a code point, a group of all code points of the same kinds, and `group_kinds()` says which kinds those
are: so a text is counted with one look-up a character. It follows the Unicode version of the running Python, as
`unicode.class_table` does. The script of a letter is the one that its Unicode name begins with (`CYRILLIC SMALL
LETTER A`); letters whose names begin otherwise (mathematical, modifier letters, rarer scripts) are of `other`.
Cost: ~80 ms a process on first use.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.kinds import KINDS, SCRIPTS
from dolma_pipeline.kernels.tables import read_only
from dolma_pipeline.kernels.unicode import ALPHA, IDEOGRAPHIC_PLANES, NUM_CODE_POINTS, SPACE, class_table

REPLACEMENT = 0xFFFD
JOINERS = (0x200C, 0x200F)

_SPECIALS_PLANE = 0xE0000


@lru_cache(maxsize=1)
def _groups() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The table of groups, and the kinds of each group: int64[groups, kinds], 0 or 1."""
    numbers: dict[tuple[str, ...], int] = {}  # a group is the kinds that it is of
    is_letter, is_space = class_table() & ALPHA != 0, class_table() & SPACE != 0
    table = np.full(NUM_CODE_POINTS, numbers.setdefault(("nonprinting",), 0), np.uint8)
    table[IDEOGRAPHIC_PLANES:][is_letter[IDEOGRAPHIC_PLANES:]] = numbers.setdefault(("letter", "han"), 1)
    asked = [*range(IDEOGRAPHIC_PLANES), *range(_SPECIALS_PLANE, _SPECIALS_PLANE + 0x1000)]
    for point in asked:  # all other planes hold ideographs, private use, or nothing
        kinds = _kinds_of(point, bool(is_letter[point]), bool(is_space[point]))
        table[point] = numbers.setdefault(kinds, len(numbers))
    each = [[int(kind in kinds) for kind in KINDS] for kinds in numbers]
    return read_only(table), np.array(each, np.int64)


def group_table() -> NDArray[np.uint8]:
    """The group of each code point, uint8[0x110000], read-only."""
    return _groups()[0]


def group_kinds() -> NDArray[np.int64]:
    """Which kinds the code points of each group are of: int64[groups, len(KINDS)], 0 or 1."""
    return _groups()[1]


def _kinds_of(point: int, is_letter: bool, is_space: bool) -> tuple[str, ...]:
    """The kinds of a code point, in the order of KINDS but for `upper`, which is the last."""
    if point == REPLACEMENT:
        return ("replacement",)
    char = chr(point)
    if is_letter:
        return ("letter", _script(char), "upper") if char.isupper() else ("letter", _script(char))
    category = unicodedata.category(char)
    if char.isalnum():
        return ("digit", "numeric") if category == "Nd" else ("numeric",) + ("upper",) * char.isupper()
    if category[0] == "P":
        return ("punctuation",)
    if category[0] in "SN":  # circled letters and Roman numerals may be upper case
        return ("symbol",) * (category[0] == "S") + ("upper",) * char.isupper()
    if is_space:
        return ("space",)
    hidden = category in ("Cc", "Cf", "Co", "Cn") and not JOINERS[0] <= point <= JOINERS[1]
    return ("nonprinting",) if hidden else ()


def _script(letter: str) -> str:
    if 0x3400 <= ord(letter) <= 0x9FFF or 0xAC00 <= ord(letter) <= 0xD7A3:  # three quarters of all letters
        return "hangul" if ord(letter) >= 0xAC00 else "han"
    words = unicodedata.name(letter, "").lower().removeprefix("halfwidth ").removeprefix("fullwidth ").split(" ")
    if words[0] == "cjk":
        return "han"
    return words[0] if words[0] in SCRIPTS else "other"
