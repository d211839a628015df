"""One pass over a batch's bytes that finds where an e-mail address, a phone number or an IP address may stand.

What comes out are windows: stretches of a text, cut between characters, that hold all that a recognizer has to
see to decide as it would on the whole text. Windows of one kind that touch are one. Cost: 250 to 1,200 MB of
text a second; memory grows with the number of windows. Time is linear in the text.

A window is given out where, of presidio-analyzer 2.2's recognizers, one could match:

* e-mail: `@` with a character of a local part before it, and a domain with a dot after it. All of both is in the
  window, up to 320 bytes each (RFC 5321 allows 254).
* IPv4: `[0-9.]` with four groups of 1 to 3 digits, not more (object identifiers, long versions).
  IPv6: `[0-9A-Fa-f:]` in groups of at most 4, not after a letter or digit, with seven colons (but not in eight
  pairs: hardware addresses), or one `::` and at least 4 hex digits, one of them decimal: `::`, the loopback
  `::1`, slices as `[1::2]` and `face::` are nobody's address. A colon behind it is left out: "2001:db8::1: down".
* phone: a chain of at least `min_digits` digits (7 after a `+`) with gaps of up to 4 characters of phone
  punctuation, as libphonenumber's matcher takes it (`phonenumbermatcher.py`, `_PATTERN`).

Chains that only look like a phone number are left out, each by its shape: see `_is_noise`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import TextBuffers, read_only
from dolma_pipeline.kernels.unicode import before, decode

EMAIL, PHONE, IP = 0, 1, 2
"""Kinds of windows."""

_MAX_ADDRESS_BYTES = 320
_PHONE_TAIL_BYTES = 24
_MAX_DIGITS_OF_A_NUMBER = 20  # libphonenumber: 17 of the national number, 3 of the country code


class Windows(NamedTuple):
    """Stretches of texts, by row and place within a kind: int32[k], and `kinds` uint8[k] (EMAIL, PHONE, IP).

    `starts` and `ends` are byte positions in the text buffer, always between characters.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    kinds: NDArray[np.uint8]


def find_windows(text: TextBuffers, *, min_digits: int = 7) -> Windows:
    """All windows of the texts.

    Args:
        text: the texts.
        min_digits: digits of the shortest phone number written without `+` (US: 10).
    """
    return Windows(*_scan(read_only(text.offsets), read_only(text.data), min_digits, _CLASSES, _ZEROS))


# What a byte may be, as bits.
_DIGIT, _HEX, _WORD, _LOCAL, _DOMAIN, _TRIGGER = 1, 2, 4, 8, 16, 32


def _classes() -> NDArray[np.uint8]:
    """Bits of each byte. Bytes of 0x80 and above may be part of a letter, so they count as one."""
    classes = np.zeros(256, np.uint8)
    for byte in range(256):
        char, bits = chr(byte), 0
        if byte >= 0x80 or char.isalnum() or char == "_":
            bits |= _WORD | _LOCAL | _DOMAIN
        if byte < 0x80 and char in "!#$%&'*+-/=?^_`{|}~.":
            bits |= _LOCAL
        if byte < 0x80 and char in ".-":
            bits |= _DOMAIN
        if byte < 0x80 and char in "0123456789":
            bits |= _DIGIT
        if byte < 0x80 and char in "0123456789abcdefABCDEF":
            bits |= _HEX
        if byte < 0x80 and char in "0123456789@:":
            bits |= _TRIGGER
        classes[byte] = bits
    for zero in _ZEROS.tolist():  # first bytes of the digits of other scripts
        classes[chr(zero).encode()[0]] |= _TRIGGER
    return read_only(classes)


def _zeros() -> NDArray[np.int32]:
    """The zero of each script but ASCII; a script's ten digits follow one another (Unicode, section 4.6)."""
    digits = re.findall(r"\d", "".join(map(chr, range(0x80, 0x20000))))
    return read_only(np.array([ord(digit) for digit in digits if unicodedata.decimal(digit) == 0], np.int32))


_ZEROS = _zeros()
_CLASSES = _classes()


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
def _forward(data, at, end, count):  # type: ignore[no-untyped-def]
    """End of the `count` characters that begin at `at`, or `end`."""
    for _ in range(count):
        if at < end:
            at += 1
        while at < end and data[at] & 0xC0 == 0x80:
            at += 1
    return at


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
def _email_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the `@` at `at` (from, to), from = -1 for none."""
    if at == start or at + 1 >= end or not classes[data[at - 1]] & _LOCAL or not classes[data[at + 1]] & _WORD:
        return -1, -1
    last, has_dot = at + 1, False
    limit = min(end, at + 1 + _MAX_ADDRESS_BYTES)
    while last < limit and classes[data[last]] & _DOMAIN:
        if data[last] == 0x2E and last + 1 < end and classes[data[last + 1]] & _WORD:
            has_dot = True
        last += 1
    if not has_dot:
        return -1, -1
    while last > at and last < end and data[last] & 0xC0 == 0x80:
        last -= 1
    first, limit = at, max(start, at - _MAX_ADDRESS_BYTES)
    while first > limit and classes[data[first - 1]] & _LOCAL:
        first -= 1
    while first < at and data[first] & 0xC0 == 0x80:
        first += 1
    return before(data, first) if first > start else first, _forward(data, last, end, 1)


@njit(cache=True, nogil=True)
def _ip_tail(data, last, end, ahead):  # type: ignore[no-untyped-def]
    """End of the window of an address that ends at `last`: zone, prefix, and `ahead` characters to look at."""
    if last < end and data[last] == 0x25:
        last += 1
        limit = min(end, last + 64)
        while last < limit and (48 <= data[last] <= 57 or (data[last] < 0x80 and 65 <= data[last] & 0xDF <= 90)):
            last += 1
    if last < end and data[last] == 0x2F:
        last = min(end, last + 1)
        limit = min(end, last + 3)
        while last < limit and 48 <= data[last] <= 57:
            last += 1
    return _forward(data, last, end, ahead)


@njit(cache=True, nogil=True)
def _ip4_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the run of digits and dots from `at` (from, to), from = -1 for none; and the run's end."""
    last, group, groups, longest, holds = at, 0, 0, 0, False
    while last < end and (classes[data[last]] & _DIGIT or data[last] == 0x2E):
        if data[last] == 0x2E and group == 0:  # two dots end a row of groups
            holds = holds or (groups == 4 and longest <= 3)
            groups, longest = 0, 0
        elif data[last] == 0x2E:
            group = 0
        else:
            group += 1
            groups += group == 1
            longest = max(longest, group)
        last += 1
    holds = holds or (groups == 4 and longest <= 3)
    if not holds or (at > start and data[at - 1] < 0x80 and classes[data[at - 1]] & _WORD):
        return -1, -1, last
    first, limit = at, max(start, at - 45)  # an IPv6 address may end in an IPv4 one
    while first > limit and (classes[data[first - 1]] & _HEX or data[first - 1] == 0x3A):
        first -= 1
    return before(data, first) if first > start else first, _ip_tail(data, last, end, 1), last


@njit(cache=True, nogil=True)
def _ip6_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the run of hex digits and colons around the `:` at `at` (from, to), from = -1; the run's end."""
    first, limit = at, max(start, at - 5)
    while first > limit and classes[data[first - 1]] & _HEX:
        first -= 1
    last, group, longest, colons, doubles, digits, decimals, pairs = first, 0, 0, 0, 0, 0, 0, 0
    while last < end and (classes[data[last]] & _HEX or data[last] == 0x3A):
        if data[last] == 0x3A:
            colons += 1
            doubles += last > first and data[last - 1] == 0x3A
            group = 0
        else:
            group += 1
            digits += 1
            decimals += classes[data[last]] & _DIGIT
            pairs += group == 2
            longest = max(longest, group)
        last += 1
    run_end = last
    trimmed = last - 2 > first and data[last - 1] == 0x3A and data[last - 2] != 0x3A
    if trimmed:  # "host 2001:db8::1: unreachable"
        last -= 1
        colons -= 1
    if doubles == 0:
        fits = colons == 7 and not (pairs == 8 and longest == 2)
    else:
        fits = doubles == 1 and colons <= 8 and digits >= 4 and decimals > 0
    if longest > 4 or (first > start and data[first - 1] < 0x80 and classes[data[first - 1]] & _WORD):
        fits = False
    if run_end < end and data[run_end] < 0x80 and classes[data[run_end]] & _WORD:
        fits = False
    if run_end + 1 < end and data[run_end] == 0x2E and classes[data[run_end + 1]] & _DIGIT:
        fits = False  # ends in IPv4, which has a window of its own
    if not fits:
        return -1, -1, run_end
    return before(data, first) if first > start else first, last if trimmed else _ip_tail(data, last, end, 2), run_end


@njit(cache=True, nogil=True)
def _next_trigger(data, at, end, classes):  # type: ignore[no-untyped-def]
    """The next byte that may begin something, or `end`. By itself, since numba counts references in `_scan`'s loop."""
    while at < end and not classes[data[at]] & _TRIGGER:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _grown(values):  # type: ignore[no-untyped-def]
    """A copy with twice the room."""
    more = np.empty(2 * values.size, values.dtype)
    more[: values.size] = values
    return more


@njit(cache=True, nogil=True)
def _scan(offsets, data, min_digits, classes, zeros):  # type: ignore[no-untyped-def]
    """Arrays of texts in, arrays of `Windows` out."""
    rows, kinds = np.empty(64, np.int32), np.empty(64, np.uint8)
    starts, ends = np.empty(64, np.int32), np.empty(64, np.int32)
    count = 0
    blocks = np.zeros((8, 3), np.int64)
    newest = np.zeros(3, np.int64)
    for row in range(offsets.size - 1):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        newest[:] = -1
        phone_from, ip4_from, ip6_from = start, start, start  # what lies before was looked at
        at = start
        while at < end:
            here = _next_trigger(data, at, end, classes)
            if here == end:
                break
            bits, at = classes[data[here]], here + 1
            for kind in range(3):
                first, last = np.int64(-1), np.int64(-1)
                if kind == EMAIL:
                    if data[here] == 0x40:
                        first, last = _email_window(data, here, start, end, classes)
                elif kind == PHONE:
                    if here >= phone_from and (
                        bits & _DIGIT or (bits & _WORD and _digit(decode(data, here)[0], zeros) >= 0)
                    ):
                        first, last, phone_from = _phone_window(data, here, start, end, min_digits, zeros, blocks)
                elif data[here] == 0x3A:
                    if here >= ip6_from:
                        first, last, ip6_from = _ip6_window(data, here, start, end, classes)
                elif bits & _DIGIT and here >= ip4_from:
                    first, last, ip4_from = _ip4_window(data, here, start, end, classes)
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
            if bits & _DIGIT:
                at = max(at, min(phone_from, ip4_from))  # no `@`, no `:` and no digit that was not looked at
    return rows[:count].copy(), starts[:count].copy(), ends[:count].copy(), kinds[:count].copy()


def warm() -> None:
    """Compiles the kernel (some seconds the first time on a machine, 0.1 s from the cache)."""
    find_windows(TextBuffers(np.array([0, 3], np.int32), np.frombuffer(b"a@b", np.uint8)))
