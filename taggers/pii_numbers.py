"""Numbers of payment cards, bank accounts (IBAN), social security and wallets, told by their form and checksum.

Each function takes a window of `kernels.scan_codes` and gives (start, end, score) in its characters, in order. What is
found is what presidio-analyzer's recognizers of these entities find where their checksum holds, and:

* cards: also Mastercard's numbers from 2221 to 2720; not numbers that no network issues (`_NETWORKS`), whose blocks
  are not those of a card, or that are part of a decimal, a UUID or a longer row of digits;
* IBAN: the same, by length and form of each country (`iban_countries`);
* US social security numbers: only 123-45-6789, with hyphens, blanks or dots; not areas 000, 666 and 900 to 999, which
  are never issued (SSA, "Social Security Number Randomization"), nor a row of blocks that goes on;
* wallets: of Bitcoin, which all end where the letters end.

Source: presidio-analyzer 2.2 (MIT); ISO/IEC 7812; ISO 13616; BIP-13, BIP-173, BIP-350.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from taggers.iban_countries import COUNTRIES
from taggers.pii_checksums import base58check, bech32, luhn, mod97

Hit = tuple[int, int, float]
"""First character, the one after the last, and score."""

CHECKED = 1.0
"""Score of what has a checksum that holds; presidio's."""
SSN_SCORE = 0.5
"""Of a social security number, which has none; presidio's."""

_CARD = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9a-fA-F]-)(?<!\d[.,])(?<![A-Z]\d\d )"
    r"(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1(?:\d{1,4}|\d{4}\1\d{1,3})|\d{4}([ -])\d{6}\2\d{4,5})"
    r"(?![0-9A-Za-z_])(?!-[0-9a-fA-F])(?![.,]\d)(?! \d{4})",
    re.ASCII,
)
_NETWORKS = tuple(
    (re.compile(prefix), frozenset(lengths))
    for prefix, lengths in (
        (r"4", (13, 16, 19)),  # Visa
        (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
        (r"3[47]", (15,)),  # American Express
        (r"6011|64[4-9]|65", (16, 17, 18, 19)),  # Discover
        (r"30[0-5]|3095|36|3[89]", (14, 16, 17, 18, 19)),  # Diners Club
        (r"35", (16, 17, 18, 19)),  # JCB; issued are 3528 to 3589
        (r"2131|1800", (15,)),  # JCB
        (r"62|81", (16, 17, 18, 19)),  # UnionPay
        (r"50|5[6-9]|6", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay, InstaPayment and others
        (r"220[0-4]", (16, 17, 18, 19)),  # Mir
        (r"1", (15,)),  # UATP
        (r"9792", (16,)),  # Troy
    )
)
"""Which numbers the networks issue: their first digits and how many there are (ISO/IEC 7812 ranges)."""

_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d\d(?:[ -]?[0-9A-Za-z])+", re.ASCII)
_IBAN_MARKS = re.compile("[ -]")
_SSN = re.compile(
    "|".join(
        rf"(?<!\w)(?<!\d{mark})(?!000|666|9)\d{{3}}{mark}(?!00)\d\d{mark}(?!0000)\d{{4}}(?!\w)(?!{mark}\d)"
        for mark in ("-", " ", r"\.")
    ),
    re.ASCII,
)
_NOBODYS_SSN = ("078-05-1120", "219-09-9999", "123-45-6789")
"""Numbers of advertisements and examples (SSA, "Misused Social Security Numbers")."""
_WALLET = re.compile(r"(?<![0-9A-Za-z])(?:bc1[0-9a-z]{11,87}|BC1[0-9A-Z]{11,87}|[13][0-9A-Za-z]{25,34})(?![0-9A-Za-z])")


def cards(text: str) -> Iterator[Hit]:
    """Numbers of payment cards."""
    for found in _CARD.finditer(text):
        number = found[0].replace(" ", "").replace("-", "")
        issued = any(len(number) in lengths and prefix.match(number) for prefix, lengths in _NETWORKS)
        if issued and len(set(number)) > 1 and luhn(number):
            yield found.start(), found.end(), CHECKED


def ibans(text: str) -> Iterator[Hit]:
    """Numbers of bank accounts, in one block or in blocks of four."""
    at = 0
    while (found := _IBAN.search(text, at)) is not None:
        at = found.start() + 2
        end = _iban_end(text, found.start(), found.end())
        if end:
            yield found.start(), end, CHECKED
            at = end


def _iban_end(text: str, start: int, limit: int) -> int:
    """Where an IBAN that begins at `start` ends; 0 if none does. A word may stand behind it."""
    country = COUNTRIES.get(text[start : start + 2])
    if country is None:
        return 0
    end, left = start, country.length
    while left and end < limit:
        left -= text[end] not in " -"
        end += 1
    if left or (end < limit and text[end] not in " -"):
        return 0
    blocks = _IBAN_MARKS.split(text[start:end])
    if len(blocks) > 1 and (any(len(block) != 4 for block in blocks[:-1]) or len(blocks[-1]) > 4):
        return 0
    value = "".join(blocks)
    return end if country.bban.fullmatch(value, 4) and mod97(value) else 0


def social_security_numbers(text: str) -> Iterator[Hit]:
    """US social security numbers."""
    for found in _SSN.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if len(set(digits)) > 1 and f"{digits[:3]}-{digits[3:5]}-{digits[5:]}" not in _NOBODYS_SSN:
            yield found.start(), found.end(), SSN_SCORE


def wallets(text: str) -> Iterator[Hit]:
    """Bitcoin addresses."""
    for found in _WALLET.finditer(text):
        if (bech32 if found[0][0] in "bB" else base58check)(found[0]):
            yield found.start(), found.end(), CHECKED
