"""Cards, accounts, social security numbers and wallets: what is one, what is none, and presidio as a second opinion."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taggers import pii_numbers
from taggers.iban_countries import COUNTRIES
from taggers.pii_checksums import luhn, mod97

FINDERS = {
    "credit_card": pii_numbers.cards,
    "iban": pii_numbers.ibans,
    "us_ssn": pii_numbers.social_security_numbers,
    "crypto_wallet": pii_numbers.wallets,
}


def values(entity: str, text: str) -> list[str]:
    return [text[start:end] for start, end, _ in FINDERS[entity](text)]


@pytest.mark.parametrize(
    ("entity", "text", "found"),
    [
        ("credit_card", "Visa 4111 1111 1111 1111, 12/25", ["4111 1111 1111 1111"]),
        ("credit_card", "4111-1111-1111-1111 and 4222222222222.", ["4111-1111-1111-1111", "4222222222222"]),
        ("credit_card", "付款4111111111111111。", ["4111111111111111"]),
        ("credit_card", "3782 822463 10005", ["3782 822463 10005"]),
        ("credit_card", "2223 0031 2200 3222", ["2223 0031 2200 3222"]),
        ("credit_card", "4111 1111-1111 1111", []),
        ("credit_card", "4111111111111112", []),
        ("credit_card", "a4111111111111111 4111111111111111b", []),
        ("credit_card", "0.4111111111111111 4111111111111111.5", []),
        ("credit_card", "12345678-4111111111111111", []),
        ("credit_card", "4111 1111 1111 1111 2345", []),
        ("credit_card", "0000000000000000 7992739871300006", []),
        ("iban", "IBAN: DE89 3704 0044 0532 0130 00.", ["DE89 3704 0044 0532 0130 00"]),
        ("iban", "DE89370400440532013000 is mine", ["DE89370400440532013000"]),
        ("iban", "NL91 ABNA 0417 1643 00 is mine", ["NL91 ABNA 0417 1643 00"]),
        ("iban", "NL91-ABNA-0417-1643-00", ["NL91-ABNA-0417-1643-00"]),
        ("iban", "DE89370400440532013001 DE8937040044053201300 XX89370400440532013000", []),
        ("iban", "DE89 37 0400440532013000", []),
        ("iban", "NL911BNA0417164300", []),
        ("iban", "de89370400440532013000", []),
        ("us_ssn", "SSN 219-45-6789, 219 45 6788; 219.45.6787!", ["219-45-6789", "219 45 6788", "219.45.6787"]),
        ("us_ssn", "000-45-6789 666-45-6789 900-45-6789 219-00-6789 219-45-0000", []),
        ("us_ssn", "078-05-1120 219-09-9999 123-45-6789 333-33-3333", []),
        ("us_ssn", "219-45 6789 1-219-45-6789 219-45-6789-1 219 45 6789 7 2219-45-6789", []),
        ("us_ssn", "219456789", []),
        ("crypto_wallet", "to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.", ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"]),
        ("crypto_wallet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb x1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", []),
        (
            "crypto_wallet",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n",
            ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
        ),
        ("crypto_wallet", "Bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", []),
    ],
)
def test_what_is_found(entity: str, text: str, found: list[str]) -> None:
    assert values(entity, text) == found


@pytest.mark.parametrize(
    ("entity", "text", "score"),
    [("credit_card", "4111111111111111", 1.0), ("iban", "NL91ABNA0417164300", 1.0), ("us_ssn", "219-45-6789", 0.5)],
)
def test_scores(entity: str, text: str, score: float) -> None:
    assert [hit[2] for hit in FINDERS[entity](text)] == [score]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_valid_ibans_of_every_country_are_found(data: st.DataObject) -> None:
    code = data.draw(st.sampled_from(sorted(COUNTRIES)))
    bban = data.draw(st.from_regex(COUNTRIES[code].bban, fullmatch=True))
    check = next(f"{i:02}" for i in range(2, 99) if mod97(f"{code}{i:02}{bban}"))
    plain = f"{code}{check}{bban}"
    spaced = " ".join(plain[i : i + 4] for i in range(0, len(plain), 4))
    assert values("iban", f"to {plain}, or {spaced} now") == [plain, spaced]
    other = 2 + (int(check) - 1) % 97  # of other check digits the rest of division by 97 is another
    assert values("iban", f"to {code}{other:02}{bban}") == []


@cache
def presidio() -> dict[str, Any]:
    from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, CryptoRecognizer, IbanRecognizer

    recognizers = {"CREDIT_CARD": CreditCardRecognizer(), "IBAN_CODE": IbanRecognizer(), "CRYPTO": CryptoRecognizer()}
    return {entity: partial_of(recognizer, entity) for entity, recognizer in recognizers.items()}


def partial_of(recognizer: Any, entity: str) -> Any:
    return lambda text: sorted((r.start, r.end) for r in recognizer.analyze(text, [entity], None) if r.score > 0.5)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["4", "51", "6011", "65", "34"]), st.integers(0, 10**14), st.sampled_from(["", " ", "-"]))
def test_cards_that_presidio_finds_are_found(prefix: str, rest: int, mark: str) -> None:
    size = 15 if prefix == "34" else 16
    body = (prefix + f"{rest:015}")[: size - 1]
    number = next(body + str(i) for i in range(10) if luhn(body + str(i)))
    groups = [number[:4], number[4:10], number[10:]] if size == 15 else [number[i : i + 4] for i in range(0, 16, 4)]
    text = f"card {mark.join(groups)}."
    assert [(a, b) for a, b, _ in pii_numbers.cards(text)] == [(5, len(text) - 1)] == presidio()["CREDIT_CARD"](text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([
    "NL91ABNA0417164300", "DE89 3704 0044 0532 0130 00", "IBAN", " ", ",", "x", "7",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
]), max_size=8).map("".join))  # fmt: skip
def test_nothing_is_found_that_presidio_does_not_find(text: str) -> None:
    for entity, finder in (("IBAN_CODE", pii_numbers.ibans), ("CRYPTO", pii_numbers.wallets)):
        theirs = presidio()[entity](text)
        assert all(any(x <= a and b <= y for x, y in theirs) for a, b, _ in finder(text)), entity
