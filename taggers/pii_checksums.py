"""Checksums of numbers that people are known by, by name: `luhn`, `mod97`, `verhoeff`, `base58check`, `bech32`.

Each takes the value without what stands between its blocks, and says whether it holds. Cost: 1 to 20 us a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_CONSTANT, _BECH32M_CONSTANT = 1, 0x2BC830A3

_VERHOEFF_TIMES = tuple(
    tuple((a + b if a < 5 else a - b) % 5 + (0 if (a < 5) == (b < 5) else 5) for b in range(10)) for a in range(10)
)
"""The product of the dihedral group of order 10: 0 to 4 are turns, 5 to 9 reflections."""
_VERHOEFF_SHIFT = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
"""Where each digit goes, one place further left."""


def luhn(value: str) -> bool:
    """Of cards and many customer numbers: every second digit doubled, the sum a multiple of 10 (ISO/IEC 7812-1)."""
    if not _all_digits(value):
        return False
    digits = [int(char) for char in reversed(value)]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0


def mod97(value: str) -> bool:
    """Of IBANs: the first four characters last, letters as 10 to 35, the rest of division by 97 is 1 (ISO 13616)."""
    if len(value) < 5 or not (value.isascii() and value.isalnum()):
        return False
    turned = value[4:] + value[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def verhoeff(value: str) -> bool:
    """Of Indian Aadhaar numbers and others: the last digit checks the rest (Verhoeff 1969)."""
    if not _all_digits(value):
        return False
    check, shift = 0, list(range(10))
    for char in reversed(value):
        check = _VERHOEFF_TIMES[check][shift[int(char)]]
        shift = [_VERHOEFF_SHIFT[digit] for digit in shift]
    return check == 0


def base58check(value: str) -> bool:
    """Of Bitcoin addresses from 1 and 3: 25 bytes in base 58, the last four begin a doubled SHA-256 (BIP-13)."""
    number = 0
    for char in value:
        digit = _BASE58.find(char)
        if digit < 0:
            return False
        number = number * 58 + digit
    zeros = len(value) - len(value.lstrip("1"))
    size = zeros + (number.bit_length() + 7) // 8
    if size != 25:
        return False
    data = number.to_bytes(size, "big")
    return hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


def bech32(value: str) -> bool:
    """Of Bitcoin addresses from bc1: a BCH code over all characters (BIP-173; BIP-350 from version 1 on)."""
    if value not in (value.lower(), value.upper()) or not 14 <= len(value) <= 90:
        return False
    head, mark, tail = value.lower().rpartition("1")
    digits = [_BECH32.find(char) for char in tail]
    if not mark or not head or len(digits) < 7 or min(digits) < 0:
        return False
    rest = _bech32_rest([*(ord(c) >> 5 for c in head), 0, *(ord(c) & 31 for c in head), *digits])
    return rest == (_BECH32_CONSTANT if digits[0] == 0 else _BECH32M_CONSTANT)


CHECKSUMS: Mapping[str, Callable[[str], bool]] = {
    check.__name__: check for check in (luhn, mod97, verhoeff, base58check, bech32)
}
"""All of them, by name."""


def _all_digits(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) > 1


def _bech32_rest(values: list[int]) -> int:
    rest = 1
    for value in values:
        top = rest >> 25
        rest = (rest & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_BECH32_GENERATORS):
            rest ^= generator if top >> i & 1 else 0
    return rest
