"""Any JSON value, passed over and checked without being decoded.

Strict as RFC 8259; what is unusual (nested more than MAX_DEPTH levels, very long numbers and exponents) is left to
a full parser, which says whether it is right. Recursion is a stack of bits, so no memory is taken.
Cost: some 500 MB of nested values per second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.json_strings import BAD, skip_string

MAX_DEPTH = 60
_MAX_NUMBER = 100  # bytes; with an exponent below 100 no such number is too large for a double


@njit(cache=True, nogil=True)
def skip_blanks(data: Any, i: Any) -> Any:
    """The first byte from i on that is neither space, tab nor carriage return."""
    while i < len(data) and (data[i] == 0x20 or data[i] == 0x09 or data[i] == 0x0D):
        i += 1
    return i


@njit(cache=True, nogil=True)
def at(data: Any, i: Any) -> Any:
    """Byte i; 0 (which no JSON has) beyond the end."""
    return data[i] if i < len(data) else np.uint8(0)


@njit(cache=True, nogil=True)
def _is_digit(byte: Any) -> Any:
    return 0x30 <= byte <= 0x39


@njit(cache=True, nogil=True)
def _skip_digits(data: Any, i: Any) -> Any:
    while _is_digit(at(data, i)):
        i += 1
    return i


@njit(cache=True, nogil=True)
def _skip_number(data: Any, i: Any) -> Any:
    start = i
    if data[i] == 0x2D:  # -
        i += 1
    if not _is_digit(at(data, i)):
        return BAD
    i = i + 1 if data[i] == 0x30 else _skip_digits(data, i)
    if at(data, i) == 0x2E:  # .
        if not _is_digit(at(data, i + 1)):
            return BAD
        i = _skip_digits(data, i + 1)
    if at(data, i) | 0x20 == 0x65:  # e
        i += 1
        if at(data, i) == 0x2B or at(data, i) == 0x2D:
            i += 1
        digits = i
        i = _skip_digits(data, i)
        if not 1 <= i - digits <= 2:
            return BAD
    return i if i - start <= _MAX_NUMBER else BAD


@njit(cache=True, nogil=True)
def skip_integer(data: Any, i: Any) -> Any:
    """The byte after the integer at byte i; BAD if none is there, or one that would not be written as it stands."""
    start, i = i, i + (at(data, i) == 0x2D)
    digits, i = i, _skip_digits(data, i)
    byte = at(data, i)
    if byte == 0x2E or byte | 0x20 == 0x65:  # . e
        return BAD
    if not 1 <= i - digits <= 18 or (data[digits] == 0x30 and i - start > 1):  # 0 alone; neither -0 nor 01
        return BAD
    return i


@njit(cache=True, nogil=True)
def _skip_word(data: Any, i: Any) -> Any:
    """The byte after `true`, `false` or `null` at byte i, or BAD."""
    if at(data, i + 3) == 0x65 and data[i] == 0x74 and data[i + 1] == 0x72 and data[i + 2] == 0x75:
        return i + 4
    if is_null(data, i):
        return i + 4
    if at(data, i + 4) == 0x65 and data[i] == 0x66 and data[i + 1] == 0x61 and data[i + 2] == 0x6C:
        return i + 5 if data[i + 3] == 0x73 else BAD
    return BAD


@njit(cache=True, nogil=True)
def is_null(data: Any, i: Any) -> Any:
    """Whether `null` stands at byte i."""
    return at(data, i + 3) == 0x6C and data[i] == 0x6E and data[i + 1] == 0x75 and data[i + 2] == 0x6C


@njit(cache=True, nogil=True)
def _skip_key(data: Any, i: Any) -> Any:
    """The byte after the colon of the key at byte i, or BAD."""
    i = skip_blanks(data, i)
    if at(data, i) != 0x22:
        return BAD
    i = skip_string(data, i + 1)
    if i < 0:
        return BAD
    i = skip_blanks(data, i)
    return i + 1 if at(data, i) == 0x3A else BAD


@njit(cache=True, nogil=True)
def skip_value(data: Any, i: Any) -> Any:
    """The byte after the JSON value that starts at byte i; BAD: none, or an unusual one. UTF-8 is not checked."""
    depth, objects = 0, np.uint64(0)  # the lowest bit: whether the innermost level is an object
    one = np.uint64(1)
    while True:
        byte = at(data, i)
        opened = byte == 0x7B or byte == 0x5B
        if byte == 0x22:
            i = skip_string(data, i + 1)
        elif opened:
            if depth == MAX_DEPTH:
                return BAD
            depth += 1
            objects = objects << one | np.uint64(byte == 0x7B)
            i += 1
        elif byte == 0x2D or _is_digit(byte):
            i = _skip_number(data, i)
        else:
            i = _skip_word(data, i)
        while i >= 0:
            if depth == 0:
                return i
            i = skip_blanks(data, i)
            byte = at(data, i)
            inside_object = objects & one == one
            if byte == (0x7D if inside_object else 0x5D):
                depth -= 1
                objects >>= one
                i += 1
                opened = False
                continue
            if not opened:
                if byte != 0x2C:
                    return BAD
                i += 1
            if inside_object:
                i = _skip_key(data, i)
            break
        if i < 0:
            return BAD
        i = skip_blanks(data, i)
