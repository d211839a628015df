"""`PhoneShapes` against libphonenumber itself: a window that it rules out holds no number, whatever is in it."""

from __future__ import annotations

from collections.abc import Sequence

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taggers.phone_shapes import PhoneShapes

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def holds_number(window: str, regions: Sequence[str]) -> bool:
    """Whether libphonenumber finds a valid number, as presidio asks it."""
    return any(phonenumbers.PhoneNumberMatcher(window, region, leniency=1).has_next() for region in regions)


def written(region: str, kind: int, form: int) -> str:
    """A valid number of the region (of a kind if it has that), as people write it."""
    number = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    if number is None:
        return "303-555-0127"
    if form == 4:
        return str(phonenumbers.national_significant_number(number))
    if form == 5:
        return str(phonenumbers.format_out_of_country_calling_number(number, "US"))
    return str(phonenumbers.format_number(number, form))


@pytest.mark.parametrize("form", range(6))
@pytest.mark.parametrize("kind", [0, 1, 3, 4, 6])
def test_numbers_of_every_region_in_every_form_are_left_to_libphonenumber(kind: int, form: int) -> None:
    found = 0
    for region in REGIONS:
        window = f"a {written(region, kind, form)}\n"
        asked = ["US"] if form == 5 else [region]
        if holds_number(window, asked):
            found += 1
            assert PhoneShapes(asked).may_match(window), (region, window)
    assert found > 100


@pytest.mark.parametrize(
    "window",
    [
        "t 0123456789 ",  # no such area code
        "7 +0.54718001j,\n ",
        "           5.485 799 0946 e-7    0.000 000 0022 e-7 ",
        "'#     8112805864510000))\n ",
        "1 + 4.821965916689270e-01",
        "\n        0x100500001005e,\n  ",
        "v 1999-01-02 09:10 to 2012",
        "9 978-0-12-811905-1 ISBN",
        "(" + "12345678901234567890" * 3 + ")",
        "no digit + at all",
        "",
    ],
)
def test_common_windows_without_a_number_are_ruled_out(window: str) -> None:
    assert not holds_number(window, ["US"])
    assert not PhoneShapes(["US"]).may_match(window)


@pytest.mark.parametrize(
    "window",
    [
        "1-303-555-0127",
        "011 49 30 123456",  # dialled abroad
        "+49 30 123456",
        "＋49 30 123456",
        "+ (49) 30 123456",
        "+011 49 30 123456",  # no country begins with 0: read without the `+`
        "12 / 303-555-0127",
        "٣٠٣-555-0127",
        "３０３－５５５－０１２７",
        "303-555-0127 ext. 1234567",
        "(xx303-555-0127",
        "12. 303 555 0127. 11",
        "1.2.3, 2/303-555-0127",
        "303-555-0127#",
        "2 x12345678901\n303-555-0127",
    ],
)
def test_what_is_a_number_is_left_to_libphonenumber(window: str) -> None:
    assert holds_number(window, ["US"])
    assert PhoneShapes(["US"]).may_match(window)


def test_where_digits_are_rewritten_nothing_is_ruled_out() -> None:
    """Norfolk Island: five digits of an old number become six of a new one."""
    assert holds_number("10660,9(00", ["NF"])
    assert PhoneShapes(["NF"]).may_match("10660,9(00")
    assert PhoneShapes(["US", "BR"]).may_match("1 22 333")


def test_every_region_is_asked() -> None:
    window = "t 030 123456, "
    assert not PhoneShapes(["US"]).may_match(window)
    assert PhoneShapes(["US", "DE"]).may_match(window)
    assert holds_number(window, ["US", "DE"])


regions = st.sampled_from(["US", "US", "CA", "GB", "DE", "FR", "IL", "IN", "BR"]) | st.sampled_from(REGIONS)
numbers = st.builds(written, regions, st.integers(0, 10), st.integers(0, 5))
digits = st.text("0123456789", min_size=1, max_size=25)
signs = st.sampled_from([
    "", "-", " ", ".", "(", ")", "/", "[", "]", "x", "X", "+", "＋", "#", "~", ",", " ext. ", " int ", ";ext=", "\n",
    "e", "*", ":", "  ", "     ", " - ", "é", "٣", "５", "–", "\u00a0", "xx", " x", "//", "(", " (", "+ (", "00", "011",
    "1", "0", "abc", "=", "доб 5", "anexo 5", "%", "$",
])  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.one_of(numbers, digits, signs, signs), min_size=1, max_size=9).map("".join),
    st.lists(regions, min_size=1, max_size=2),
    st.integers(0, 60),
    signs,
)
@example("10660,9", ["NF"], 60, "")
def test_a_window_that_is_ruled_out_holds_no_number(window: str, asked: list[str], place: int, sign: str) -> None:
    for text in (window, window[:place] + sign + window[place:]):
        assert PhoneShapes(asked).may_match(text) or not holds_number(text, asked)
