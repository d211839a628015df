"""Where an e-mail address or an IP address may stand: the part of `kernels.scan` for them.

Windows are given out where presidio-analyzer 2.2's recognizers could match:

* e-mail: `@` with a character of a local part before it, and a domain with a dot after it. All of both is in the
  window, up to 320 bytes each (RFC 5321 allows 254).
* IPv4: `[0-9.]` with four groups of 1 to 3 digits, not more (object identifiers, long versions).
  IPv6: `[0-9A-Fa-f:]` in groups of at most 4, not after a letter or digit, with seven colons (but not in eight
  pairs: hardware addresses), or one `::` and at least 4 hex digits, one of them decimal: `::`, the loopback
  `::1`, slices as `[1::2]` and `face::` are nobody's address. A colon behind it is left out: "2001:db8::1: down".

Cost and memory: see `kernels.scan`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import read_only
from dolma_pipeline.kernels.unicode import before

_MAX_ADDRESS_BYTES = 320

# What a byte may be, as bits.
DIGIT, HEX, WORD, LOCAL, DOMAIN, ENDS = 1, 2, 4, 8, 16, 32


def _classes() -> NDArray[np.uint8]:
    """Bits of each byte. Bytes of 0x80 and above may be part of a letter, so they count as one."""
    classes = np.zeros(256, np.uint8)
    for byte in range(256):
        char, bits = chr(byte), 0
        if byte >= 0x80 or char.isalnum() or char == "_":
            bits |= WORD | LOCAL | DOMAIN
        if byte < 0x80 and char in "!#$%&'*+-/=?^_`{|}~.":
            bits |= LOCAL
        if byte < 0x80 and char in ".-":
            bits |= DOMAIN
        if byte < 0x80 and char in "0123456789":
            bits |= DIGIT
        if byte < 0x80 and char in "0123456789abcdefABCDEF":
            bits |= HEX
        if byte < 0x80 and char not in " ()-./xX[]~":
            bits |= ENDS  # after a digit: no phone number goes on here
        classes[byte] = bits
    return read_only(classes)


CLASSES = _classes()


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
def email_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the `@` at `at` (from, to), from = -1 for none."""
    if at == start or at + 1 >= end or not classes[data[at - 1]] & LOCAL or not classes[data[at + 1]] & WORD:
        return -1, -1
    last, has_dot = at + 1, False
    limit = min(end, at + 1 + _MAX_ADDRESS_BYTES)
    while last < limit and classes[data[last]] & DOMAIN:
        if data[last] == 0x2E and last + 1 < end and classes[data[last + 1]] & WORD:
            has_dot = True
        last += 1
    if not has_dot:
        return -1, -1
    while last > at and last < end and data[last] & 0xC0 == 0x80:
        last -= 1
    first, limit = at, max(start, at - _MAX_ADDRESS_BYTES)
    while first > limit and classes[data[first - 1]] & LOCAL:
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
def ip4_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the run of digits and dots from `at` (from, to), from = -1 for none; and the run's end."""
    last, group, groups, longest, holds = at, 0, 0, 0, False
    while last < end and (classes[data[last]] & DIGIT or data[last] == 0x2E):
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
    if not holds or (at > start and data[at - 1] < 0x80 and classes[data[at - 1]] & WORD):
        return -1, -1, last
    first, limit = at, max(start, at - 45)  # an IPv6 address may end in an IPv4 one
    while first > limit and (classes[data[first - 1]] & HEX or data[first - 1] == 0x3A):
        first -= 1
    return before(data, first) if first > start else first, _ip_tail(data, last, end, 1), last


@njit(cache=True, nogil=True)
def ip6_window(data, at, start, end, classes):  # type: ignore[no-untyped-def]
    """Window of the run of hex digits and colons around the `:` at `at` (from, to), from = -1; the run's end."""
    first, limit = at, max(start, at - 5)
    while first > limit and classes[data[first - 1]] & HEX:
        first -= 1
    last, group, longest, colons, doubles, digits, decimals, pairs = first, 0, 0, 0, 0, 0, 0, 0
    while last < end and (classes[data[last]] & HEX or data[last] == 0x3A):
        if data[last] == 0x3A:
            colons += 1
            doubles += last > first and data[last - 1] == 0x3A
            group = 0
        else:
            group += 1
            digits += 1
            decimals += classes[data[last]] & DIGIT
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
    if longest > 4 or (first > start and data[first - 1] < 0x80 and classes[data[first - 1]] & WORD):
        fits = False
    if run_end < end and data[run_end] < 0x80 and classes[data[run_end]] & WORD:
        fits = False
    if run_end + 1 < end and data[run_end] == 0x2E and classes[data[run_end + 1]] & DIGIT:
        fits = False  # ends in IPv4, which has a window of its own
    if not fits:
        return -1, -1, run_end
    return before(data, first) if first > start else first, last if trimmed else _ip_tail(data, last, end, 2), run_end
