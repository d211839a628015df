"""One pass over a batch's bytes that finds where personal data of chosen kinds may stand.

What comes out are windows: stretches of a text, cut between characters, that hold all that a recognizer has to
see to decide as it would on the whole text. Windows of one kind that touch are one. Cost: 700 to 4,500 MB of
text a second (prose the most) for the first three kinds; memory grows with the number of windows. Time is linear in
the text.

A window is given out where, of presidio-analyzer 2.2's recognizers, one could match:

* e-mail and IP: see `kernels.scan_addresses`.
* phone: a chain of at least `min_digits` digits (7 after a `+`) with gaps of up to 4 characters of phone
  punctuation, as libphonenumber's matcher takes it (`phonenumbermatcher.py`, `_PATTERN`).

Chains that only look like a phone number are left out, each by its shape: see `_is_noise`. The other kinds (numbers
of cards and accounts, wallets, keys) are those of `kernels.scan_codes`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.scan_addresses import CLASSES, DIGIT, ENDS, HEX, WORD, email_window, ip4_window, ip6_window
from dolma_pipeline.kernels.scan_codes import (
    KEY,
    NUM_KINDS,
    TRIGGERS,
    code_may_begin,
    code_window,
)
from dolma_pipeline.kernels.tables import TextBuffers, read_only
from dolma_pipeline.kernels.unicode import before, decode

EMAIL, PHONE, IP = 0, 1, 2
"""Kinds of windows; further ones are in `kernels.scan_codes`."""

CODES_FROM = 1 << IP + 1
"""Kinds as bits: from here on they are those of `scan_codes`."""

_BLOCK = 32
"""Bytes that are looked at together."""
_PHONE_TAIL_BYTES = 24
_MAX_DIGITS_OF_A_NUMBER = 20  # libphonenumber: 17 of the national number, 3 of the country code


class Windows(NamedTuple):
    """Stretches of texts, by row and place within a kind: int32[k], and `kinds` uint8[k] (EMAIL, PHONE, IP…).

    `starts` and `ends` are byte positions in the text buffer, always between characters.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    kinds: NDArray[np.uint8]


def find_windows(text: TextBuffers, *, min_digits: int = 7, kinds: Collection[int] = (EMAIL, PHONE, IP)) -> Windows:
    """All windows of the texts.

    Args:
        text: the texts.
        min_digits: digits of the shortest phone number written without `+` (US: 10).
        kinds: what is looked for, of this module and of `kernels.scan_codes`; the others cost nothing.
    """
    wanted = sum(1 << kind for kind in {*kinds})
    return Windows(
        *_scan(read_only(text.offsets), read_only(text.data), min_digits, wanted, _asked(wanted), CLASSES, _ZEROS)
    )


@cache
def _asked(wanted: int) -> NDArray[np.int64]:
    """Kinds that are looked for at each byte, as bits, of those that are wanted: int64[256]."""
    digits = b"0123456789"
    others = bytes({chr(zero).encode()[0] for zero in _ZEROS.tolist()})  # first bytes of digits of other scripts
    asked = np.zeros(256, np.int64)
    for kind, triggers in {EMAIL: b"@", PHONE: digits + others, IP: digits + b":", **TRIGGERS}.items():
        asked[list(triggers)] |= wanted & 1 << kind
    return read_only(asked)


def _zeros() -> NDArray[np.int32]:
    """The zero of each script but ASCII; a script's ten digits follow one another (Unicode, section 4.6)."""
    digits = re.findall(r"\d", "".join(map(chr, range(0x80, 0x20000))))
    return read_only(np.array([ord(digit) for digit in digits if unicodedata.decimal(digit) == 0], np.int32))


_ZEROS = _zeros()


@njit(cache=True, nogil=True)
def _digit(point, zeros):  # type: ignore[no-untyped-def]
    """The value of a decimal digit of any script, or -1."""
    if point < 0x80:
        return point - 48 if 48 <= point <= 57 else -1
    if point < zeros[0]:
        return -1
    low, high = 0, zeros.size
    while high - low > 1:
        middle = (low + high) // 2
        if zeros[middle] <= point:
            low = middle
        else:
            high = middle
    value = point - zeros[low]
    return value if value < 10 else -1


@njit(cache=True, nogil=True)
def _is_punctuation(point):  # type: ignore[no-untyped-def]
    """Characters that may stand between the digits of a number: libphonenumber's `_VALID_PUNCTUATION`."""
    if point < 0x80:
        return (
            point == 0x20 or point == 0x28 or point == 0x29 or point == 0x2D or point == 0x2E or point == 0x2F
            or point == 0x58 or point == 0x78 or point == 0x5B or point == 0x5D or point == 0x7E
        )  # fmt: skip
    return (
        point == 0xA0 or point == 0xAD or point == 0x200B or 0x2010 <= point <= 0x2015 or point == 0x2053
        or point == 0x2060 or point == 0x2212 or point == 0x223C or point == 0x3000 or point == 0x30FC
        or point == 0xFF08 or point == 0xFF09 or 0xFF0D <= point <= 0xFF0F or point == 0xFF3B or point == 0xFF3D
        or point == 0xFF5E
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _number(data, start, length):  # type: ignore[no-untyped-def]
    """Value of up to 10 ASCII digits; -1 if one of them is of another script."""
    value = np.int64(0)
    for i in range(start, start + length):
        if data[i] < 48 or data[i] > 57:
            return np.int64(-1)
        value = value * 10 + (data[i] - 48)
    return value


@njit(cache=True, nogil=True)
def _is_date(year, month, day):  # type: ignore[no-untyped-def]
    """A day that people write about."""
    return 1900 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31


@njit(cache=True, nogil=True)
def _chain(data, at, end, zeros, blocks):  # type: ignore[no-untyped-def]
    """Reads a chain of digit blocks from its first digit on.

    Fills `blocks` (int64[8, 3]: first byte, digits, the character of the gap before if it is one, else 0) and
    gives (end of the last digit, digits, blocks, digits of the longest piece). A piece is what libphonenumber tries
    where the whole chain is too long: the chain is cut at its dots, or at its spaces, and what is longer than any
    number does not count. With other characters than these, and `-` between digits, the chain is taken as a piece.
    """
    digits, num_blocks, last = 0, 0, at
    by_dot, by_space, longest, plain = 0, 0, 0, True
    gap, gap_chars, gap_plain, has_hyphen = np.int64(0), 0, True, False
    while at < end:
        point, size = decode(data, at)
        if _digit(point, zeros) >= 0:
            if num_blocks == 0 or gap_chars > 0:
                if num_blocks < 8:
                    blocks[num_blocks, 0], blocks[num_blocks, 1] = at, 0
                    blocks[num_blocks, 2] = gap if gap_chars == 1 else 0
                num_blocks += 1
            if num_blocks <= 8:
                blocks[num_blocks - 1, 1] += 1
            plain = plain and gap_plain and not (gap_chars > 1 and has_hyphen)
            digits += 1
            by_dot += 1
            by_space += 1
            gap_chars, gap_plain, has_hyphen = 0, True, False
            at += size
            last = at
        elif gap_chars < 4 and _is_punctuation(point):
            gap, gap_chars = point, gap_chars + 1
            gap_plain = gap_plain and (point == 0x2E or point == 0x20 or point == 0x2D)
            has_hyphen = has_hyphen or point == 0x2D
            if point == 0x2E:
                longest, by_dot = max(longest, by_dot if by_dot <= _MAX_DIGITS_OF_A_NUMBER else 0), 0
            elif point == 0x20:
                longest, by_space = max(longest, by_space if by_space <= _MAX_DIGITS_OF_A_NUMBER else 0), 0
            at += size
        else:
            break
    for rest in (by_dot, by_space):
        longest = max(longest, rest if rest <= _MAX_DIGITS_OF_A_NUMBER else 0)
    return last, digits, num_blocks, longest if plain else digits


@njit(cache=True, nogil=True)
def _is_noise(data, start, last, end, digits, num_blocks, longest, blocks, min_digits):  # type: ignore[no-untyped-def]
    """Chains without `+` that are not phone numbers, or that libphonenumber would refuse, by their shape.

    * longer than any number, and no piece of it is long enough: tables of numbers, long codes;
    * one block within letters, after `%` or `$`, of a date (20240131), or a limit of 32-bit integers;
    * a decimal: one or two digits, a dot, the rest;
    * a date with the same separator twice and nothing long enough after it; a range of two years;
    * IPv4 with or without prefix, and grouped thousands: four blocks of at most 3 digits with dots between.
      Four blocks of 2 digits may be a phone number (Denmark, Norway).
    """
    if digits > _MAX_DIGITS_OF_A_NUMBER and (num_blocks == 1 or longest < min_digits):
        return True
    if num_blocks == 1:
        left = data[blocks[0, 0] - 1] if blocks[0, 0] > start else np.uint8(32)
        if left == 0x25 or left == 0x24 or (left < 0x80 and 65 <= left & 0xDF <= 90):
            return True
        if last < end and data[last] < 0x80 and 65 <= data[last] & 0xDF <= 90:
            right = data[last] & 0xDF
            if right != 65 and right != 69 and right != 73 and right != 88:  # "ext", "int", "x", "anexo" may follow
                return True
        if digits == 8 or digits == 12 or digits == 14:
            day = _number(data, last - digits, 8)
            return _is_date(day // 10000, day // 100 % 100, day % 100)
        if digits == 10:
            value = _number(data, last - digits, 10)
            return value == 2147483647 or value == 2147483648
        return False
    if num_blocks == 2:
        if blocks[1, 2] == 0x2E and blocks[0, 1] <= 2:
            return True
        if blocks[0, 1] == 4 and blocks[1, 1] == 4:
            first, second = _number(data, blocks[0, 0], 4), _number(data, blocks[1, 0], 4)
            return 1000 <= first <= second <= 2099
    if num_blocks >= 3 and blocks[1, 2] == blocks[2, 2] != 0 and digits - 8 < min_digits:
        first, second, third = blocks[0, 1], blocks[1, 1], blocks[2, 1]
        one, two = _number(data, blocks[0, 0], min(first, 4)), _number(data, blocks[1, 0], min(second, 4))
        three = _number(data, blocks[2, 0], min(third, 4))
        if first == 4 and second == 2 and third == 2 and _is_date(one, two, three):
            return True
        if first == 2 and second == 2 and third == 4 and (_is_date(three, two, one) or _is_date(three, one, two)):
            return True
    if num_blocks == 4 or (num_blocks == 5 and blocks[4, 2] == 0x2F):
        pairs, dotted = 0, True
        for i in range(4):
            pairs += blocks[i, 1] == 2
            dotted = dotted and blocks[i, 1] <= 3 and (i == 0 or blocks[i, 2] == 0x2E)
        return dotted and pairs < 4
    return False


@njit(cache=True, nogil=True)
def _phone_tail(data, last, end):  # type: ignore[no-untyped-def]
    """End of the window of a chain that ends at `last`: an extension if one may follow, else a few bytes.

    Extensions are ", 123", ";ext=123", " x 123", " int 123", " anexo 123" and the like in Cyrillic and full-width
    letters (`_EXTN_PATTERNS_FOR_MATCHING`). A longer window would show the recognizer what was left out as noise.
    """
    at = last
    while at < min(end, last + 8) and (
        data[at] == 32 or data[at] == 9 or data[at] == 44 or data[at] == 45 or data[at] == 59
        or data[at] == 0xC2 or data[at] == 0xA0
    ):  # fmt: skip
        at += 1
    room = 4
    if at < end:
        letter = data[at] | 0x20 if data[at] < 0x80 else data[at]
        two = data[at + 1] | 0x20 if at + 1 < end else np.uint8(0)
        three = data[at + 2] | 0x20 if at + 2 < end else np.uint8(0)
        if (
            letter == 120 or data[at] == 35 or data[at] == 126 or letter == 0xD0 or letter == 0xEF
            or (letter == 101 and two == 120) or (letter == 105 and two == 110 and three == 116)
            or (letter == 97 and two == 110 and three == 101)
        ):  # fmt: skip
            room = _PHONE_TAIL_BYTES
    tail = min(max(at, last) + room, end)
    while tail < end and data[tail] & 0xC0 == 0x80:
        tail += 1
    for _ in range(_MAX_DIGITS_OF_A_NUMBER):  # an extension is not cut
        if tail < end and 48 <= data[tail] <= 57:
            tail += 1
    return tail


@njit(cache=True, nogil=True)
def _phone_window(data, at, start, end, min_digits, zeros, blocks):  # type: ignore[no-untyped-def]
    """Window of the chain whose first digit is at `at` (from, to), from = -1 for none; and the chain's end."""
    last, digits, num_blocks, longest = _chain(data, at, end, zeros, blocks)
    if digits < 7:
        return -1, -1, last
    first, has_plus = at, False
    for _ in range(10):  # libphonenumber: twice a lead character and up to four of punctuation
        if first == start:
            break
        previous = before(data, first)
        point, _size = decode(data, previous)
        is_plus = point == 0x2B or point == 0xFF0B
        if not is_plus and not _is_punctuation(point):
            break
        has_plus = has_plus or is_plus
        first = previous
    if not has_plus and digits < min_digits:
        return -1, -1, last
    if not has_plus and _is_noise(data, start, last, end, digits, num_blocks, longest, blocks, min_digits):
        return -1, -1, last
    first = before(data, first) if first > start else first
    return first, _phone_tail(data, last, end), last


@njit(cache=True, nogil=True)
def _next_trigger(data, at, end, asked, plain):  # type: ignore[no-untyped-def]
    """The next byte that may begin something, or `end`. By itself, since numba counts references in `_scan`'s loop.

    Blocks in which nothing can begin are skipped whole, by comparisons that the processor makes for all bytes at once:
    blocks without a digit, `:`, `@` or the first byte of a digit of another script, and, if not `plain`, without a byte
    that keys are looked for at (`TRIGGERS`).
    """
    while at < end:
        while at + _BLOCK <= end:
            some = np.uint8(0)
            for i in range(_BLOCK):  # in numbers of 8 bits, and no index below 0: else it is a byte at a time
                byte = data[np.uint64(at) + np.uint64(i)]
                number = np.uint8(byte - np.uint8(0x30)) <= np.uint8(10)
                some = np.uint8(some | number | (byte == np.uint8(0x40)) | (byte >= np.uint8(0xD9)))
            if not plain:
                for i in range(_BLOCK):
                    byte = data[np.uint64(at) + np.uint64(i)]
                    mark = (byte == np.uint8(0x2D)) | (byte == np.uint8(0x5F)) | (byte == np.uint8(0x7A))
                    capital = (byte == np.uint8(0x47)) | (byte == np.uint8(0x4A)) | (byte == np.uint8(0x4B))
                    some = np.uint8(some | mark | capital | (byte == np.uint8(0x53)))
            if some:
                break
            at += _BLOCK
        limit = min(end, at + _BLOCK)
        while at < limit:
            if asked[data[at]]:
                return at
            at += 1
    return end


@njit(cache=True, nogil=True)
def _grown(values):  # type: ignore[no-untyped-def]
    """A copy with twice the room."""
    more = np.empty(2 * values.size, values.dtype)
    more[: values.size] = values
    return more


@njit(cache=True, nogil=True)
def _scan(offsets, data, min_digits, wanted, asked, classes, zeros):  # type: ignore[no-untyped-def]
    """Arrays of texts in, arrays of `Windows` out; `wanted` are kinds as bits, `asked` those at each byte."""
    rows, kinds = np.empty(64, np.int32), np.empty(64, np.uint8)
    starts, ends = np.empty(64, np.int32), np.empty(64, np.int32)
    count = 0
    blocks = np.zeros((8, 3), np.int64)
    newest, state = np.zeros(NUM_KINDS, np.int64), np.zeros(3, np.int64)
    plain = wanted < 1 << KEY
    for row in range(offsets.size - 1):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        newest[:], state[:] = -1, start
        ip6_from = start  # what lies before was looked at
        phone_from = start if wanted >> PHONE & 1 else end
        ip4_from = start if wanted >> IP & 1 else end
        at = start
        while at < end:
            here = _next_trigger(data, at, end, asked, plain)
            if here == end:
                break
            bits, at = classes[data[here]], here + 1
            if bits & DIGIT and here >= min(phone_from, ip4_from):  # what a number is not is mostly told by its end
                stop = here + 1
                while stop < end and classes[data[stop]] & DIGIT:
                    stop += 1
                if stop == end or data[stop] != 0x2E:
                    ip4_from = max(ip4_from, stop)
                if stop - here < 7 and (stop == end or classes[data[stop]] & ENDS):
                    phone_from = max(phone_from, stop)
            kinds_here = asked[data[here]]
            if kinds_here >= CODES_FROM and not code_may_begin(data, here, start, end):
                kinds_here &= CODES_FROM - 1
            for kind in range(IP + 1 if kinds_here < CODES_FROM else NUM_KINDS):
                first, last = np.int64(-1), np.int64(-1)
                if not kinds_here >> kind & 1:
                    continue
                if kind > IP:
                    first, last = code_window(kind, data, here, start, end, state)
                elif kind == EMAIL:
                    if data[here] == 0x40:
                        first, last = email_window(data, here, start, end, classes)
                elif kind == PHONE:
                    if here >= phone_from and (
                        bits & DIGIT or (bits & WORD and _digit(decode(data, here)[0], zeros) >= 0)
                    ):
                        first, last, phone_from = _phone_window(data, here, start, end, min_digits, zeros, blocks)
                elif data[here] == 0x3A:
                    if (
                        here >= ip6_from
                        and here + 1 < end
                        and (classes[data[here + 1]] & HEX or data[here + 1] == 0x3A)
                    ):
                        first, last, ip6_from = ip6_window(data, here, start, end, classes)
                elif bits & DIGIT and here >= ip4_from:
                    first, last, ip4_from = ip4_window(data, here, start, end, classes)
                if first < 0:
                    continue
                other = newest[kind]
                if other >= 0 and first <= ends[other]:
                    starts[other], ends[other] = min(starts[other], first), max(ends[other], last)
                    continue
                if count == rows.size:
                    rows, starts, ends, kinds = _grown(rows), _grown(starts), _grown(ends), _grown(kinds)
                rows[count], starts[count], ends[count], kinds[count] = row, first, last, kind
                newest[kind] = count
                count += 1
            if bits & DIGIT and wanted < CODES_FROM:
                at = max(at, min(phone_from, ip4_from))  # no `@`, no `:` and no digit that was not looked at
    return rows[:count].copy(), starts[:count].copy(), ends[:count].copy(), kinds[:count].copy()


def warm() -> None:
    """Compiles the kernel (some seconds the first time on a machine, 0.1 s from the cache)."""
    find_windows(TextBuffers(np.array([0, 3], np.int32), np.frombuffer(b"a@b", np.uint8)))
