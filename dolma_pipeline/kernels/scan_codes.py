"""Where numbers of cards and accounts, wallets, logins in URLs and keys may stand: the part of `kernels.scan` for them.

Each is looked for at bytes that are rare in text (a digit, `@`, `_`…), and all that is read around one is bounded, or
read once. A window holds the candidate and the characters around it by which a recognizer tells where a value ends.
Whether it is one (checksum, lengths, who issues it) is asked of the windows, not here. A window is given out for:

* card: a block of 12 to 19 digits, or blocks of 4, 4, 4 and 1 to 4 digits (and up to 3 more), or of 4, 6 and 4 or 5,
  with one blank or hyphen between two blocks;
* IBAN: two letters and two digits after no letter or digit, and at least 11 letters and digits more, with at most one
  blank or hyphen between two of them;
* US social security number: blocks of 3, 2 and 4 digits with the same blank, hyphen or dot between them;
* wallet: 1 or 3 and 25 to 34 letters and digits, or bc1 and 11 to 87 of them (BIP-13, BIP-173);
* login: `//`, characters of a user's name, `:`, those of a password, and `@` before a host;
* key: one of `KEY_PREFIXES`, and what may belong to a key after it;
* private key: from `-----BEGIN ` to the end of the line of the next `-----END `, 32 KB at most (RFC 7468).

Cost and memory: see `kernels.scan`; time is linear in the text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import read_only
from dolma_pipeline.kernels.unicode import before

CARD, IBAN, SSN, WALLET, LOGIN, KEY, PRIVATE_KEY = range(3, 10)
"""Kinds of windows, after those of `kernels.scan`."""
NUM_KINDS = PRIVATE_KEY + 1

KEY_PREFIXES = (
    b"AKIA", b"ASIA", b"AIza", b"GOCSPX-", b"eyJ", b"SG.",
    b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-",
    b"xoxa-", b"xoxb-", b"xoxe-", b"xoxo-", b"xoxp-", b"xoxr-", b"xoxs-", b"xapp-",
    b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_", b"sk-", b"npm_", b"pypi-", b"hf_", b"dop_v1_",
    b"shpat_", b"shpca_", b"shppa_", b"shpss_",
)  # fmt: skip
"""What keys of services begin with, as these publish it; which service each is of, see `taggers.pii_keys`."""

_TRIGGER_ORDER = b"_-JGzKS"
"""The rarer of a prefix's bytes, by which it is looked for; none is its first."""
_MAX_KEY_BYTES = 4_096
_MAX_PEM_BYTES = 32_768
_MAX_LOGIN_BYTES = 256
_AROUND = 5
"""Characters before and after a number that its window holds."""
CARD_FROM, KEY_FROM, PEM_END = 0, 1, 2
"""Places in the state of a text (int64[3]): up to where cards and keys were looked for; the last END found."""


def _prefix_tables() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The prefixes by the byte that they are looked for: bytes, (length, place of that byte), first of each byte."""
    places = [next(p.index(t) for t in _TRIGGER_ORDER if t in p) for p in KEY_PREFIXES]
    order = sorted(range(len(KEY_PREFIXES)), key=lambda i: KEY_PREFIXES[i][places[i]])
    table = np.zeros((len(order), max(map(len, KEY_PREFIXES))), np.uint8)
    for row, i in enumerate(order):
        table[row, : len(KEY_PREFIXES[i])] = np.frombuffer(KEY_PREFIXES[i], np.uint8)
    sizes = np.array([(len(KEY_PREFIXES[i]), places[i]) for i in order], np.int64)
    triggers = [KEY_PREFIXES[i][places[i]] for i in order]
    return read_only(table), read_only(sizes), read_only(np.searchsorted(triggers, np.arange(257)))


PREFIX_BYTES, PREFIX_SIZES, PREFIX_ROWS = _prefix_tables()


def _prefix_pairs() -> NDArray[np.bool_]:
    """Which two bytes, the second a trigger, stand in a prefix: bool[256, 256]."""
    pairs = np.zeros((256, 256), np.bool_)
    for prefix, (_, place) in zip(PREFIX_BYTES, PREFIX_SIZES, strict=True):
        pairs[prefix[place - 1], prefix[place]] = True
    return read_only(pairs)


PREFIX_PAIRS = _prefix_pairs()

TRIGGERS: dict[int, bytes] = {
    **dict.fromkeys((CARD, IBAN, SSN, WALLET), b"0123456789"),
    LOGIN: b"@",
    KEY: bytes(np.flatnonzero(np.diff(PREFIX_ROWS)).tolist()),
    PRIVATE_KEY: b"-",
}
"""Bytes at which each kind is looked for."""


@njit(cache=True, nogil=True)
def _is_digit(byte):  # type: ignore[no-untyped-def]
    return 48 <= byte <= 57


@njit(cache=True, nogil=True)
def _is_letter(byte):  # type: ignore[no-untyped-def]
    """An ASCII letter."""
    return byte < 0x80 and 65 <= byte & 0xDF <= 90


@njit(cache=True, nogil=True)
def _is_alnum(byte):  # type: ignore[no-untyped-def]
    """An ASCII letter or digit."""
    return 48 <= byte <= 57 or (byte < 0x80 and 65 <= byte & 0xDF <= 90)


@njit(cache=True, nogil=True)
def _widened(data, first, last, start, end):  # type: ignore[no-untyped-def]
    """A stretch and the `_AROUND` characters before and after it."""
    for _ in range(_AROUND):
        if first > start:
            first = before(data, first)
        if last < end:
            last += 1
            while last < end and data[last] & 0xC0 == 0x80:
                last += 1
    return first, last


@njit(cache=True, nogil=True)
def _block_end(data, at, end):  # type: ignore[no-untyped-def]
    """End of the digits from `at` on."""
    while at < end and _is_digit(data[at]):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _card_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of the blocks of digits that begin at `here` (from, to), from = -1 for none; and the first block's end."""
    first_end = _block_end(data, here, end)
    size = first_end - here
    if 12 <= size <= 19:
        first, last = _widened(data, here, first_end, start, end)
        return first, last, first_end
    if size != 4:
        return -1, -1, first_end
    at, second = first_end, 0
    for block in range(3):
        if at + 1 >= end or (data[at] != 0x20 and data[at] != 0x2D) or not _is_digit(data[at + 1]):
            return -1, -1, first_end
        block_end = _block_end(data, at + 1, min(end, at + 8))
        size = block_end - at - 1
        if block == 0:
            second = size
            if size != 4 and size != 6:
                return -1, -1, first_end
        elif block == 1:
            if second == 6:
                if size != 4 and size != 5:
                    return -1, -1, first_end
                first, last = _widened(data, here, block_end, start, end)
                return first, last, first_end
            if size != 4:
                return -1, -1, first_end
        elif size > 4:
            return -1, -1, first_end
        at = block_end
    if at + 1 < end and (data[at] == 0x20 or data[at] == 0x2D) and _is_digit(data[at + 1]):
        block_end = _block_end(data, at + 1, min(end, at + 8))
        if block_end - at <= 4:  # 19 digits, the last three apart
            at = block_end
    first, last = _widened(data, here, at, start, end)
    return first, last, first_end


@njit(cache=True, nogil=True)
def _ssn_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of a social security number whose first digit is at `here` (from, to), from = -1 for none."""
    if (
        here + 11 > end
        or (here > start and _is_alnum(data[here - 1]))
        or (here + 11 < end and _is_alnum(data[here + 11]))
    ):
        return -1, -1
    mark = data[here + 3]
    if (mark != 0x20 and mark != 0x2D and mark != 0x2E) or data[here + 6] != mark:
        return -1, -1
    for i in range(11):
        if i != 3 and i != 6 and not _is_digit(data[here + i]):
            return -1, -1
    return _widened(data, here, here + 11, start, end)


@njit(cache=True, nogil=True)
def _iban_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of an account number whose check digits are at `here` (from, to), from = -1 for none."""
    first = here - 2
    if first < start or here + 1 >= end or not _is_digit(data[here + 1]):
        return -1, -1
    if not _is_letter(data[first]) or not _is_letter(data[first + 1]) or (first > start and _is_alnum(data[first - 1])):
        return -1, -1
    at, last, count = here + 2, here + 2, 4
    while at < end and count < 34:
        if _is_alnum(data[at]):
            count += 1
            at += 1
            last = at
        elif (data[at] == 0x20 or data[at] == 0x2D) and at == last:
            at += 1
        else:
            break
    if count < 15:
        return -1, -1
    return _widened(data, first, last, start, end)


@njit(cache=True, nogil=True)
def _wallet_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of a wallet with its first 1 or 3 at `here` (from, to), from = -1 for none."""
    first, most, least = here, 35, 26
    if here > start and _is_alnum(data[here - 1]):
        first, most, least = here - 2, 90, 14
        if data[here] != 0x31 or first < start or data[first] | 0x20 != 0x62 or data[first + 1] | 0x20 != 0x63:
            return -1, -1
        if first > start and _is_alnum(data[first - 1]):
            return -1, -1
    last, limit = here, min(end, first + most + 1)
    while last < limit and _is_alnum(data[last]):
        last += 1
    if not least <= last - first <= most:
        return -1, -1
    return _widened(data, first, last, start, end)


@njit(cache=True, nogil=True)
def _login_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of the user, password and first of the host around the `@` at `here` (from, to), from = -1 for none."""
    if here + 1 >= end or not (_is_alnum(data[here + 1]) or data[here + 1] == 0x5B or data[here + 1] >= 0x80):
        return -1, -1
    at, limit, has_colon = here, max(start, here - _MAX_LOGIN_BYTES), False
    while at > limit and data[at - 1] > 0x20 and data[at - 1] != 0x2F and data[at - 1] != 0x40:
        at -= 1
        has_colon = has_colon or data[at] == 0x3A
    if not has_colon or at - 3 < start or data[at - 1] != 0x2F or data[at - 2] != 0x2F or data[at - 3] != 0x3A:
        return -1, -1
    first, limit = at - 3, max(start, at - 3 - 16)
    while first > limit and (_is_alnum(data[first - 1]) or data[first - 1] == 0x2B or data[first - 1] == 0x2D):
        first -= 1
    return _widened(data, first, here + 1, start, end)


@njit(cache=True, nogil=True)
def _key_window(data, here, start, end):  # type: ignore[no-untyped-def]
    """Window of a key with its trigger at `here` (from, to), from = -1 for none."""
    for row in range(PREFIX_ROWS[data[here]], PREFIX_ROWS[data[here] + 1]):
        first, size = here - PREFIX_SIZES[row, 1], PREFIX_SIZES[row, 0]
        if first < start or first + size > end:
            continue
        same = 0
        while same < size and data[first + same] == PREFIX_BYTES[row, same]:
            same += 1
        if same < size or (first > start and (_is_alnum(data[first - 1]) or data[first - 1] == 0x5F)):
            continue
        last, limit = first + size, min(end, first + _MAX_KEY_BYTES)
        while last < limit and (
            _is_alnum(data[last]) or data[last] == 0x5F or data[last] == 0x2D or data[last] == 0x2E
        ):  # fmt: skip
            last += 1
        if last - first >= 20:
            return first, last
    return -1, -1


@njit(cache=True, nogil=True)
def _is_pem(data, at, end, ends):  # type: ignore[no-untyped-def]
    """Whether `-----BEGIN ` stands at `at`, or with `ends` `-----END `."""
    size = 9 if ends else 11
    if at + size + 5 > end:
        return False
    for i in range(5):
        if data[at + i] != 0x2D:
            return False
    if ends:
        return data[at + 5] == 0x45 and data[at + 6] == 0x4E and data[at + 7] == 0x44 and data[at + 8] == 0x20
    return (
        data[at + 5] == 0x42 and data[at + 6] == 0x45 and data[at + 7] == 0x47 and data[at + 8] == 0x49
        and data[at + 9] == 0x4E and data[at + 10] == 0x20
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _pem_window(data, here, end, state):  # type: ignore[no-untyped-def]
    """Window from the BEGIN at `here` to the next END (from, to), from = -1 for none.

    `state[PEM_END]` is the last END that was found: it is looked for from there on, so that each byte is read once.
    """
    if not _is_pem(data, here, end, False):
        return -1, -1
    at = max(state[PEM_END], here)
    while at < end and not (data[at] == 0x2D and _is_pem(data, at, end, True)):
        at += 1
    state[PEM_END] = at
    if at == end or at - here > _MAX_PEM_BYTES:
        return -1, -1
    last, limit = at + 5, min(end, at + 64)
    while last < limit and data[last] != 0x2D and data[last] != 0x0A:
        last += 1
    while last < limit and data[last] == 0x2D:
        last += 1
    while last < end and data[last] & 0xC0 == 0x80:
        last += 1
    return here, last


@njit(cache=True, nogil=True)
def code_may_begin(data, here, start, end):  # type: ignore[no-untyped-def]
    """False where the byte before tells that no kind has a window at `here`: most digits, `_` and `-` are such."""
    byte, left = data[here], data[here - 1] if here > start else np.uint8(0)
    if byte == 0x40:
        return True
    if _is_digit(byte):
        return not _is_digit(left)  # a code begins with the first of its digits
    return PREFIX_PAIRS[left, byte] or (byte == 0x2D and here + 5 < end and data[here + 5] == 0x42)


@njit(cache=True, nogil=True)
def code_window(kind, data, here, start, end, state):  # type: ignore[no-untyped-def]
    """Window of one kind at the byte `here` of the text start:end (from, to), from = -1 for none."""
    first, last = np.int64(-1), np.int64(-1)
    byte = data[here]
    if kind == LOGIN:
        if byte == 0x40:
            first, last = _login_window(data, here, start, end)
    elif kind == KEY:
        if here >= state[KEY_FROM]:
            first, last = _key_window(data, here, start, end)
            if first >= 0:
                state[KEY_FROM] = last
    elif kind == PRIVATE_KEY:
        if byte == 0x2D:
            first, last = _pem_window(data, here, end, state)
    elif not _is_digit(byte):
        pass
    elif kind == CARD:
        if here >= state[CARD_FROM]:
            first, last, state[CARD_FROM] = _card_window(data, here, start, end)
    elif kind == SSN:
        first, last = _ssn_window(data, here, start, end)
    elif kind == IBAN:
        first, last = _iban_window(data, here, start, end)
    elif kind == WALLET and (byte == 0x31 or byte == 0x33):
        first, last = _wallet_window(data, here, start, end)
    return first, last
