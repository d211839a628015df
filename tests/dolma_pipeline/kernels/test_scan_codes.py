"""The kinds of `scan_codes` against a slow twin made of regular expressions, and window by window on known cases."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.kernels import scan
from dolma_pipeline.kernels.scan import EMAIL, IP, PHONE, find_windows
from dolma_pipeline.kernels.scan_codes import (
    CARD,
    IBAN,
    KEY,
    KEY_PREFIXES,
    LOGIN,
    NUM_KINDS,
    PRIVATE_KEY,
    SSN,
    WALLET,
)

Found = list[tuple[int, int, int, int]]
CODES = (CARD, IBAN, SSN, WALLET, LOGIN, KEY, PRIVATE_KEY)


def windows_of(texts: list[str], kinds: tuple[int, ...] = CODES) -> Found:
    found = find_windows(text_buffers(pa.array(texts, pa.string())), kinds=kinds)
    return sorted(zip(*(part.tolist() for part in found), strict=True), key=lambda w: (w[3], w[0], w[1]))


def widened(data: bytes, first: int, last: int) -> tuple[int, int]:
    before, after = data[:first].decode()[-5:], data[last:].decode()[:5]
    return first - len(before.encode()), last + len(after.encode())


def twin_cards(data: bytes) -> Iterator[tuple[int, int]]:
    row = re.compile(
        rb"[0-9]{12,19}(?![0-9])|[0-9]{4}(?:[ -][0-9]{4}){2}[ -](?:[0-9]{4}[ -][0-9]{1,3}|[0-9]{1,4})(?![0-9])"
        rb"|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}(?![0-9])"
    )
    for block in re.finditer(rb"[0-9]+", data):
        found = row.match(data, block.start())
        if found:
            yield widened(data, *found.span())


def twin_ibans(data: bytes) -> Iterator[tuple[int, int]]:
    number = rb"(?<![0-9A-Za-z])(?=([A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11,30}))"  # one may begin within another
    for found in re.finditer(number, data):
        yield widened(data, *found.span(1))


def twin_ssns(data: bytes) -> Iterator[tuple[int, int]]:
    number = rb"(?<![0-9A-Za-z])(?=([0-9]{3}([ .-])[0-9]{2}\2[0-9]{4})(?![0-9A-Za-z]))"
    for found in re.finditer(number, data):
        yield widened(data, *found.span(1))


def twin_wallets(data: bytes) -> Iterator[tuple[int, int]]:
    address = rb"(?<![0-9A-Za-z])(?:[13][0-9A-Za-z]{25,34}|[bB][cC]1[0-9A-Za-z]{11,87})(?![0-9A-Za-z])"
    for found in re.finditer(address, data):
        yield widened(data, *found.span())


def twin_logins(data: bytes) -> Iterator[tuple[int, int]]:
    for at in re.finditer(rb"@(?=[0-9A-Za-z\[\x80-\xff])", data):
        run = re.search(rb"[^\x00-\x20/@]*\Z", data[: at.start()])
        assert run is not None
        first = max(run.start(), at.start() - 256)
        scheme = re.search(rb"[0-9A-Za-z+-]{0,16}\Z", data[: max(first - 3, 0)])
        assert scheme is not None
        if b":" in data[first : at.start()] and data[max(first - 3, 0) : first] == b"://":
            yield widened(data, scheme.start(), at.end())


def twin_keys(data: bytes) -> Iterator[tuple[int, int]]:
    prefix = b"|".join(sorted(map(re.escape, KEY_PREFIXES), key=len))
    at = 0
    while True:
        found = re.compile(rb"(?<![0-9A-Za-z_])(?:%b)[0-9A-Za-z_.-]{0,4096}" % prefix).search(data, at)
        if found is None:
            return
        at = found.start() + 1
        if len(found[0]) >= 20:
            yield found.span()
            at = found.end()


def twin_private_keys(data: bytes) -> Iterator[tuple[int, int]]:
    for begin in re.finditer(rb"(?=-----BEGIN .{5})", data, re.DOTALL):
        end = re.compile(rb"(?=-----END .{5})", re.DOTALL).search(data, begin.start())
        if end is not None and end.start() - begin.start() <= 32_768:
            line = re.compile(rb"-----[^-\n]{0,59}").match(data, end.start())
            assert line is not None
            last = re.compile(rb"-*").match(data, line.end(), min(len(data), end.start() + 64))
            assert last is not None
            stop = last.end()
            while stop < len(data) and data[stop] & 0xC0 == 0x80:
                stop += 1
            yield begin.start(), stop


TWINS = {
    CARD: twin_cards, IBAN: twin_ibans, SSN: twin_ssns, WALLET: twin_wallets, LOGIN: twin_logins, KEY: twin_keys,
    PRIVATE_KEY: twin_private_keys,
}  # fmt: skip


def merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for first, last in places:
        if united and first <= united[-1][1]:
            united[-1] = (min(united[-1][0], first), max(united[-1][1], last))
        else:
            united.append((first, last))
    return united


def twin(texts: list[str]) -> Found:
    found, offset = [], 0
    for row, text in enumerate(texts):
        data = text.encode()
        for kind, places in TWINS.items():
            found += [(row, offset + a, offset + b, kind) for a, b in merged(list(places(data)))]
        offset += len(data)
    return sorted(found, key=lambda w: (w[3], w[0], w[1]))


pieces = st.sampled_from([
    *"0123456789", *" --..:/@_", "ab", "Z", "é", "漢", "\n", "4111", " 4111", "-1111", "411111111111",
    "3782 822463 10005", "DE89", "GB29 NWBK", " 6016", "123-45-", "6789", "123 45 6789", "12.3456", "bc1", "sk-",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7Div", "3J98t1WpEZ73CNmQviecrny", "http://", "a:b@", "user:", "pw@host", "://u:p@",
    "eyJ", "github_pat_", "abcdefghij0123456789", "-----BEGIN ", "-----END ", "RSA PRIVATE KEY-----", "xoxb-", "ghp_",
    "SG.", "AKIA",
])  # fmt: skip
dense = st.lists(pieces, max_size=30).map("".join)


@settings(max_examples=400, deadline=None)
@example(["bc10abcdefghij0123456789xoxb-bc1411111111111"])
@given(st.lists(dense, max_size=3))
def test_equals_the_twin_on_texts_full_of_codes(texts: list[str]) -> None:
    assert windows_of(texts) == twin(texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=4))
def test_equals_the_twin_on_any_text(texts: list[str]) -> None:
    assert windows_of(texts) == twin(texts)


@settings(max_examples=100, deadline=None)
@given(dense, st.sets(st.sampled_from(range(NUM_KINDS))))
def test_a_kind_is_found_as_if_it_were_alone(text: str, kinds: set[int]) -> None:
    together = windows_of([text], tuple(kinds))
    assert together == [window for kind in sorted(kinds) for window in windows_of([text], (kind,))]
    for _, start, end, _ in together:
        text.encode()[start:end].decode()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("pay 4111 1111 1111 1111 now", [CARD]),
        ("pay 4111-1111-1111-1111-110 now", [CARD]),
        ("3782 822463 10005", [CARD]),
        ("411111111111", [CARD]),
        ("4111 1111 1111", []),
        ("41111111111", []),
        ("4111 1111 1111 11111", []),
        ("12345678901234567890", []),
        ("to DE89 3704 0044 0532 0130 00", [CARD, IBAN]),
        ("DE8937040044AB", []),
        ("xDE89370400440532013000", []),
        ("ssn 123-45-6788.", [SSN]),
        ("ssn 123-45 6788 or 1123-45-6788 or 123-45-67881", []),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", [WALLET]),
        ("x1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", []),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", [WALLET]),
        ("ftp://me:pw@host/", [LOGIN]),
        ("ftp://me@host/ and me:pw@host", []),
        ("AKIAABCDEFGHIJKLMNOP", [KEY]),
        ("xAKIAABCDEFGHIJKLMNOP AKIASHORT", []),
        ("task-abcdefghijklmnopqrstuvwxyz", []),
        ("-----BEGIN X-----\nabc\n-----END X-----", [PRIVATE_KEY]),
        ("-----END X----- -----BEGIN X-----", []),
    ],
)
def test_where_a_window_is_found(text: str, kinds: list[int]) -> None:
    assert [window[3] for window in windows_of([text])] == kinds


@pytest.mark.parametrize("prefix", KEY_PREFIXES, ids=bytes.decode)
def test_keys_are_found_in_blocks_that_hold_nothing_else(prefix: bytes) -> None:
    prose = "lorem ipsum dolor sit amet " * 5
    assert [w[3] for w in windows_of([f"{prose}{prefix.decode()}abcdefghijklmnopqrst {prose}"])] == [KEY]
    assert windows_of([prose]) == []


def test_an_end_too_far_away_is_none() -> None:
    assert windows_of(["-----BEGIN A-----" + "x" * 40_000 + "-----END A-----"]) == []


def test_what_is_not_asked_for_is_not_found() -> None:
    text = "a@b.org 303-555-0127 10.0.0.1 123-45-6788"
    assert [w[3] for w in windows_of([text], (EMAIL, PHONE, IP))] == [EMAIL, PHONE, IP]
    assert [w[3] for w in windows_of([text], (IP,))] == [IP]
    assert windows_of([text], ()) == []


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "1234 ", "4111 1111 ", "-----BEGIN ", "-----END ", "DE89 ", "AKIA", "sk-", "eyJ", "_", "a:b@",
             "://a:", "bc1", "-", "123-45-"]
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    scan.warm()
    text = text_buffers(pa.array([unit * (2_000_000 // len(unit))], pa.string()))
    before = time.process_time()
    find_windows(text, kinds=CODES)
    assert time.process_time() - before < 2.0


def test_one_specialisation_whatever_is_asked_for() -> None:
    scan.warm()
    windows_of(["a@b.org"], CODES)
    windows_of(["a@b.org"], (EMAIL,))
    assert len(scan._scan.signatures) == 1
