"""Which windows of `pii_v1` hold no phone number, told from their digits alone: libphonenumber would find the same.

libphonenumber takes 0.1 to 0.3 ms for a window, and most windows hold no number. What it finds is always a row of
whole blocks of digits with a few signs between them, of which it strips a prefix (what dials abroad, the country
code, a national prefix) and finds a national number that matches one of the patterns of its country. Here these
patterns are regular expressions, tried on every row of whole blocks: where none fits, it can find nothing. What is
not as simple is left to libphonenumber: a row in which an extension may stand, signs and digits of other scripts
within a row, countries whose national prefix rewrites digits.

Cost: setup ~15 ms a region, and a few ms for each country whose code stands behind a `+`; then 3 to 8 us a window.
Source: python-phonenumbers (Apache-2.0), `phonenumbermatcher.py` (`_PATTERN`, `_extract_match`,
`_parse_and_verify`) and `phonenumberutil.py` (`parse`, `_maybe_extract_country_code`, `is_valid_number`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

_DIGITS = re.compile(r"\d(?:.*\d)?", re.DOTALL)
"""From the first digit of any script to the last."""
_ROW = re.compile(r"\d+(?:[ ()./\[\]xX-]{1,4}\d+)*")
"""Blocks of digits with ASCII signs between them that libphonenumber takes as parts of one number."""
_BLOCK = re.compile(r"\d+")
_UNCLEAR = re.compile(r"[^\x00-\x7f]|[#~]|[iI][nN][tT]")
"""Between digits: what begins an extension (`#`, `~`, "int"; "x" is looked at apart), and other scripts."""
_MAX_LETTERS = 2
"""libphonenumber reads three letters and more as digits on the keys of a telephone; only `x` can be in a number."""
_BLOCK_DIGITS, _MAX_BLOCKS = 20, 21
"""libphonenumber counts a longer block as several, and cuts a number after so many."""

_TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
"""The kinds of numbers; a valid number is of one of them (`_number_type_helper`)."""


class PhoneShapes:
    """Tells windows that hold no valid number, of some regions or behind a `+`.

    Args:
        regions: two-letter codes that libphonenumber knows.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        self._shapes = [_national(region) for region in regions]

    def may_match(self, window: str) -> bool:
        """False only if libphonenumber, looking for valid numbers of these regions, finds none in the window."""
        found = _DIGITS.search(window)
        if found is None:
            return False
        digits, gap = found[0], window[: found.start()]
        if _UNCLEAR.search(digits) or window.count("x") + window.count("X") > _MAX_LETTERS:
            return True
        end = 0
        for row in _ROW.finditer(digits):
            if end:
                gap = digits[end : row.start()]
                if "x" in gap or "X" in gap:
                    return True
            end = row.end()
            blocks = _BLOCK.findall(row[0])
            if sum(-(-len(block) // _BLOCK_DIGITS) for block in blocks) > _MAX_BLOCKS:
                return True
            if any(shape.fits(blocks) for shape in self._shapes):
                return True
            if ("+" in gap or "＋" in gap) and _fits_abroad("".join(blocks), blocks):
                return True
        return False


class _Shape:
    """The numbers of one country, with what may stand before them.

    Args:
        numbers: fits the digits of a national number and of what is stripped from its front; None where stripping
            rewrites digits, so that anything may be a number.
        abroad: fits the start of a number that is dialled to another country; None where there is no such start.
        min_digits: of the shortest number.
    """

    def __init__(self, numbers: re.Pattern[str] | None, abroad: re.Pattern[str] | None, *, min_digits: int) -> None:
        self._numbers, self._abroad, self._min_digits = numbers, abroad, min_digits

    def fits(self, blocks: Sequence[str]) -> bool:
        """Whether some row of whole blocks may be a number."""
        if self._numbers is None:
            return True
        digits = "".join(blocks)
        start = 0
        for first, block in enumerate(blocks):
            if len(digits) - start < self._min_digits:
                return False
            if self._abroad is not None and self._abroad.match(digits, start):
                return True
            if self.fits_from(digits, start, blocks[first:]):
                return True
            start += len(block)
        return False

    def fits_from(self, digits: str, start: int, blocks: Sequence[str], *, skip: int = 0) -> bool:
        """Whether the first of the blocks, or more of them, may be a number, without the first `skip` digits."""
        if self._numbers is None:
            return True
        end = start
        for block in blocks:
            end += len(block)
            if end - start - skip >= self._min_digits and self._numbers.fullmatch(digits, start + skip, end):
                return True
        return False


def _fits_abroad(digits: str, blocks: Sequence[str]) -> bool:
    """Whether what stands behind a `+` may be a number with its country code."""
    import phonenumbers

    for size in range(1, 4):  # as libphonenumber: the shortest code that there is
        if digits[:1] != "0" and int(digits[:size]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return _with_code(int(digits[:size])).fits_from(digits, 0, blocks, skip=size)
    return False  # no country's: read as if the `+` were not there


@cache
def _national(region: str) -> _Shape:
    """Numbers as they are dialled in a region."""
    import phonenumbers

    metadata: Any = phonenumbers.PhoneMetadata.metadata_for_region
    own = metadata(region)
    plans = [metadata(one) for one in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[own.country_code]]
    reading = (own, plans[0])  # a number with its country code is read by the rules of the main region
    abroad = None if own.international_prefix is None else re.compile(own.international_prefix, re.ASCII)
    return _shape(reading, plans, before=f"(?:{own.country_code})?", abroad=abroad)


@cache
def _with_code(code: int) -> _Shape:
    """Numbers of a country code, without it."""
    import phonenumbers

    metadata: Any = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code
    plans = [metadata(code, one) for one in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]]
    return _shape(plans[:1], plans, before="", abroad=None)


def _shape(reading: Sequence[Any], plans: Sequence[Any], *, before: str, abroad: re.Pattern[str] | None) -> _Shape:
    """The shape of numbers of these `plans` that are read by the rules of `reading`."""
    min_digits = min(size for plan in plans for size in plan.general_desc.possible_length)
    if any(plan.national_prefix_transform_rule is not None for plan in reading):
        return _Shape(None, abroad, min_digits=min_digits)
    prefixes = dict.fromkeys(plan.national_prefix_for_parsing for plan in reading)
    stripped = "|".join(prefix for prefix in prefixes if prefix)
    kinds = [kind for plan in plans for name in _TYPES if (kind := getattr(plan, name)) is not None]
    patterns = dict.fromkeys(kind.national_number_pattern for kind in kinds if kind.national_number_pattern)
    if stripped:
        before += f"(?:{stripped}){{0,2}}"  # with the country code it is stripped, and then again
    return _Shape(re.compile(f"{before}(?:{'|'.join(patterns)})", re.ASCII), abroad, min_digits=min_digits)
