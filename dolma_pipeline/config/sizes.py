"""Whole numbers with a unit: `20M`, `1.5G`, `4GB`, `64KiB`. Decimal powers, `i` makes them binary."""

from __future__ import annotations

import re
from fractions import Fraction

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kKMGTP])(i?))?(B?)")
_POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_size(text: str, *, of_bytes: bool = True) -> int:
    """The whole number that a size means: `64k` = 64,000, `64KiB` = 65,536, `1.5G` = 1,500,000,000.

    Args:
        text: a number, maybe with k, M, G, T or P, maybe with `i` (powers of 1024), maybe with B.
        of_bytes: False where something else is counted: then B is refused, since `1B` might mean a billion.

    Raises:
        ValueError: not a size, or not a whole number; the message says what is wrong.
    """
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 40:
        raise ValueError("k, M, G, T or P may follow a number, then i (powers of 1024), then B")
    number, letter, binary, unit = match.groups()
    if unit and not of_bytes:
        raise ValueError("B is for bytes, which are not counted here; a billion is 1G")
    size = Fraction(number) * (1024 if binary else 1000) ** _POWERS.get(letter, 0)
    if size.denominator != 1:
        raise ValueError("no whole number")
    return int(size)
