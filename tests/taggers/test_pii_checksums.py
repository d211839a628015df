"""The checksums against numbers that are published as examples, and against any single wrong character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taggers.iban_countries import COUNTRIES
from taggers.pii_checksums import CHECKSUMS, bech32

VALID = {
    "luhn": ["4111111111111111", "79927398713", "371449635398431"],
    "mod97": ["GB29NWBK60161331926819", "DE89370400440532013000", "FR1420041010050500013M02606"],
    "verhoeff": ["2363", "123451"],
    "base58check": ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
                    "1111111111111111111114oLvT2"],
    "bech32": [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ],
}  # fmt: skip


def test_every_checksum_has_examples() -> None:
    assert VALID.keys() == CHECKSUMS.keys()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALID.items() for value in values])
def test_examples_hold_and_no_neighbour_does(name: str, value: str) -> None:
    check = CHECKSUMS[name]
    assert check(value)
    for at, char in enumerate(value):
        if char.isdecimal():
            for other in {*"0123456789"} - {char}:
                assert not check(value[:at] + other + value[at + 1 :]), (at, other)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(CHECKSUMS)), st.text(max_size=40))
def test_any_text_has_an_answer(name: str, text: str) -> None:
    assert CHECKSUMS[name](text) in (True, False)
    assert not CHECKSUMS[name]("٣" + text)


def test_bech32_wants_one_case_and_the_constant_of_its_version() -> None:
    assert not bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3T4")
    assert not bech32("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4")  # BIP-350: wrong character
    assert not bech32("bc1sw50qa3jx3s")  # version 16 with the constant of version 0 (BIP-350, changed from BIP-173)


def test_countries_have_the_lengths_of_the_registry() -> None:
    lengths = {"NO": 15, "BE": 16, "NL": 18, "DE": 22, "GB": 22, "FR": 27, "IT": 27, "PL": 28, "MT": 31, "RU": 33}
    assert {code: COUNTRIES[code].length for code in lengths} == lengths
    assert all(15 <= one.length <= 34 for one in COUNTRIES.values())
