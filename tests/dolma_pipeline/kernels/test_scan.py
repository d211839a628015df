"""The scan against a slow twin made of regular expressions, and window by window on known cases."""

from __future__ import annotations

import re
import sys
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.kernels import scan
from dolma_pipeline.kernels.scan import EMAIL, IP, PHONE, find_windows

Found = list[tuple[int, int, int, int]]

LOCAL = rb"[!#$%&'*+\-/=?^_`{|}~.0-9A-Za-z\x80-\xff]"
DOMAIN = rb"[\w.\-\x80-\xff]"
PUNCTUATION = (
    "-x\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000()\uff08\uff09\uff3b\uff3d"
    r".\[\]/~"
    "\u2053\u223c\uff5e"
)
CHAIN = re.compile(rf"\d(?:[{PUNCTUATION}]{{0,4}}\d)*", re.IGNORECASE)


def windows_of(texts: list[str], *, min_digits: int = 7) -> Found:
    found = find_windows(text_buffers(pa.array(texts, pa.string())), min_digits=min_digits)
    return sorted(zip(*(part.tolist() for part in found), strict=True), key=lambda w: (w[3], w[0], w[1]))


def is_word(data: bytes, at: int) -> bool:
    return 0 <= at < len(data) and re.match(rb"[0-9A-Za-z_]", data[at : at + 1]) is not None


def forward(data: bytes, at: int, count: int) -> int:
    return at + len(data[at:].decode()[:count].encode())


def back(data: bytes, at: int) -> int:
    return at - len(data[:at].decode()[-1:].encode())


def twin_emails(data: bytes) -> list[tuple[int, int]]:
    found = []
    for m in re.finditer(b"@", data):
        at = m.start()
        left = re.search(LOCAL + rb"*\Z", data[:at])
        right = re.match(DOMAIN + rb"*", data[at + 1 :])
        assert left is not None
        assert right is not None
        domain = right[0][:320]
        if not left[0] or not re.match(rb"[\w\x80-\xff]", data[at + 1 : at + 2]):
            continue
        after = data[at + 1 : at + 2 + len(domain)]
        if not re.search(rb"\.[\w\x80-\xff]", after):
            continue
        first, last = at - min(len(left[0]), 320), at + 1 + len(domain)
        while first < at and data[first] & 0xC0 == 0x80:
            first += 1
        while last < len(data) and data[last] & 0xC0 == 0x80:
            last -= 1
        found.append((back(data, first), forward(data, last, 1)))
    return found


def ip_tail(data: bytes, last: int, ahead: int) -> int:
    m = re.match(rb"(?:%[0-9A-Za-z]{0,64})?(?:/[0-9]{0,3})?", data[last:])
    assert m is not None
    return forward(data, last + m.end(), ahead)


def twin_ips(data: bytes) -> list[tuple[int, int]]:
    found = []
    for m in re.finditer(rb"[0-9][0-9.]*", data):
        rows = [row.strip(b".").split(b".") for row in re.split(rb"\.\.+", m[0])]
        if is_word(data, m.start() - 1) or not any(len(r) == 4 and all(1 <= len(g) <= 3 for g in r) for r in rows):
            continue
        head = re.search(rb"[0-9A-Fa-f:]{0,45}\Z", data[: m.start()])
        assert head is not None
        found.append((back(data, m.start() - len(head[0])), ip_tail(data, m.end(), 1)))
    for m in re.finditer(rb"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*", data):
        run, groups = m[0], [g for g in m[0].split(b":") if g]
        if any(len(g) > 4 for g in groups) or is_word(data, m.start() - 1) or is_word(data, m.end()):
            continue
        if re.match(rb"\.[0-9]", data[m.end() :]):
            continue
        trimmed = re.search(rb"[^:]:\Z", run) is not None
        address = run[:-1] if trimmed else run
        doubles = sum(address[i : i + 2] == b"::" for i in range(len(address)))
        if doubles == 0:
            fits = address.count(b":") == 7 and any(len(g) != 2 for g in groups)
        else:
            digits = b"".join(groups)
            fits = doubles == 1 and address.count(b":") <= 8 and len(digits) >= 4 and bool(re.search(rb"\d", digits))
        if fits:
            end = m.start() + len(address) if trimmed else ip_tail(data, m.end(), 2)
            found.append((back(data, m.start()), end))
    return sorted(found, key=lambda w: w[1])


def is_day(year: int, month: int, day: int) -> bool:
    return 1900 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31


def number(block: str) -> int:
    return int(block) if block.isascii() else -1


def twin_noise(text: str, start: int, end: int, min_digits: int) -> bool:
    chain = text[start:end]
    blocks, gaps = re.findall(r"\d+", chain), re.split(r"\d+", chain)[1:-1]
    digits = sum(map(len, blocks))
    if digits > 20:
        plain = all(re.fullmatch(r"[ .]*-[ .]*|[ .]+", gap) and ("-" not in gap or gap == "-") for gap in gaps)
        pieces = [sum(c.isdecimal() for c in piece) for cut in " ." for piece in chain.split(cut)]
        if len(blocks) == 1 or (plain and max((p for p in pieces if p <= 20), default=0) < min_digits):
            return True
    left, right = text[start - 1 : start], text[end : end + 1]
    if len(blocks) == 1:
        if re.fullmatch("[%$A-Za-z]", left) or re.fullmatch("[B-DF-HJ-WYZb-df-hj-wyz]", right):
            return True
        if digits in (8, 12, 14):
            return is_day(number(chain[:4]), number(chain[4:6]), number(chain[6:8])) if chain.isascii() else False
        return chain in ("2147483647", "2147483648")
    if len(blocks) == 2:
        if gaps[0] == "." and len(blocks[0]) <= 2:
            return True
        if len(blocks[0]) == len(blocks[1]) == 4:
            return 1000 <= number(blocks[0]) <= number(blocks[1]) <= 2099
    if len(blocks) >= 3 and len(gaps[0]) == 1 and gaps[0] == gaps[1] and digits - 8 < min_digits:
        lengths, (one, two, three) = [len(b) for b in blocks[:3]], (number(b[:4]) for b in blocks[:3])
        if lengths == [4, 2, 2] and is_day(one, two, three):
            return True
        if lengths == [2, 2, 4] and (is_day(three, two, one) or is_day(three, one, two)):
            return True
    if len(blocks) == 4 or (len(blocks) == 5 and gaps[3] == "/"):
        lengths = [len(b) for b in blocks[:4]]
        return max(lengths) <= 3 and gaps[:3] == ["."] * 3 and lengths != [2] * 4
    return False


def twin_phones(text: str, min_digits: int) -> list[tuple[int, int]]:
    found = []
    for m in CHAIN.finditer(text):
        digits = sum(c.isdecimal() for c in m[0])
        lead = re.search(rf"[{PUNCTUATION}+＋]{{0,10}}\Z", text[: m.start()], re.IGNORECASE)
        assert lead is not None
        plus = "+" in lead[0] or "＋" in lead[0]
        if digits < 7 or (not plus and (digits < min_digits or twin_noise(text, m.start(), m.end(), min_digits))):
            continue
        data, last = text.encode(), len(text[: m.end()].encode())
        skip = re.match(rb"[ \t,\-;\xc2\xa0]{0,8}", data[last:])
        assert skip is not None
        at = last + skip.end()
        extension = re.match(rb"[xX#~\xd0\xef]|[eE][xX]|[iI][nN][tT]|[aA][nN][eE]", data[at:])
        tail = min(at + (24 if extension else 4), len(data))
        while tail < len(data) and data[tail] & 0xC0 == 0x80:
            tail += 1
        more = re.match(rb"[0-9]{0,20}", data[tail:])
        assert more is not None
        first = max(m.start() - len(lead[0]) - 1, 0)
        found.append((len(text[:first].encode()), tail + more.end()))
    return found


def merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for first, last in places:
        if united and first <= united[-1][1]:
            united[-1] = (min(united[-1][0], first), max(united[-1][1], last))
        else:
            united.append((first, last))
    return united


def twin(texts: list[str], min_digits: int) -> Found:
    found, offset = [], 0
    for row, text in enumerate(texts):
        data = text.encode()
        for kind, places in (
            (EMAIL, twin_emails(data)),
            (PHONE, twin_phones(text, min_digits)),
            (IP, twin_ips(data)),
        ):
            found += [(row, offset + a, offset + b, kind) for a, b in merged(places)]
        offset += len(data)
    return sorted(found, key=lambda w: (w[3], w[0], w[1]))


pieces = st.sampled_from([
    *"0123456789", *"..::--//  ()[]+@@abxXeE%$_,;#~\n\tgZ", "::", " - ", "\u00a0", "é", "漢", "🙂", "٣", "７", "＋",
    "–", "д", "303-555-0127", "(0)20 ", "192.168.0.", "2001:db8:", "fe80", "2024-01-31", "31.12.1999", "1999", "user",
    ".com", "ext. ", "int 5", "anexo", "2147483648", "0.", "-0612", "12 34 56 78 ", "100 200 ", "99 ", "%en0", "/24",
])  # fmt: skip
dense = st.lists(pieces, max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(dense, max_size=4), st.sampled_from([7, 10]))
def test_equals_the_twin_on_texts_full_of_digits_and_marks(texts: list[str], min_digits: int) -> None:
    assert windows_of(texts, min_digits=min_digits) == twin(texts, min_digits)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(), max_size=4))
def test_equals_the_twin_on_any_text(texts: list[str]) -> None:
    assert windows_of(texts) == twin(texts, 7)


@settings(max_examples=100, deadline=None)
@given(st.lists(dense, min_size=1, max_size=5), st.data())
def test_a_slice_gives_what_its_texts_give(texts: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(texts)))
    array = pa.array(texts, pa.string()).slice(first)
    found = find_windows(text_buffers(array))
    shift = len("".join(texts[:first]).encode())
    alone = find_windows(text_buffers(pa.array(texts[first:], pa.string())))
    np.testing.assert_array_equal(found.rows, alone.rows)
    np.testing.assert_array_equal(found.starts - shift, alone.starts)
    np.testing.assert_array_equal(found.ends - shift, alone.ends)
    np.testing.assert_array_equal(found.kinds, alone.kinds)


@settings(max_examples=150, deadline=None)
@given(dense | st.text())
def test_windows_end_between_characters(text: str) -> None:
    data = text.encode()
    for _, start, end, _ in windows_of([text]):
        assert 0 <= start < end <= len(data)
        data[start:end].decode()


def kinds_of(text: str, *, min_digits: int = 10) -> list[int]:
    return [w[3] for w in windows_of([text], min_digits=min_digits)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to a@b.org now", EMAIL),
        ("почта иван@пример.рф", EMAIL),
        ("call 303-555-0127", PHONE),
        ("call (303) 555 0127", PHONE),
        ("call ３０３５５５０１２７", PHONE),
        ("+49 30 1234", PHONE),
        ("＋49 30 1234", PHONE),
        ("host 10.0.0.1.", IP),
        ("::ffff:10.0.0.1", IP),
        ("fe80::1%eth0/64", IP),
        ("at 2001:db8::1: down", IP),
        ("1:2:3:4:5:6:7:8", IP),
    ],
)
def test_a_window_is_found(text: str, kind: int) -> None:
    assert kinds_of(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "@decorator.name", "a @ b.c", "a@b", "a@b.", "user@-b.c",
        "555-0127", "2024-01-31 08:15", "2024-01-31 08", "31.12.1999", "20240131081500", "3.1415926535897932",
        "1995-2004", "x3035550127", "3035550127b", "$3035550127", "index 2147483648", "2147483647",
        "1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5", "12345678901234567890123456789",
        "1.2.3", "v1.2.3.4", "1.3.6.1.5.5.7", "1234.1.1.1",
        "12:34:56", "std::vector", "::", "[1::2]", "::1", "face::", "08:00:2b:01:02:03:04:05", "12345::1",
    ],
)  # fmt: skip
def test_noise_has_no_window(text: str) -> None:
    assert kinds_of(text) == []


def test_a_window_holds_all_that_decides() -> None:
    def cut(text: str) -> list[str]:
        return [text.encode()[a:b].decode() for _, a, b, _ in windows_of([text], min_digits=10)]

    assert cut("see <é.ü@ex-ample.org>, 日本") == ["<é.ü@ex-ample.org>"]
    assert cut("tel: (303) 555-0127 ext. 4567 or") == [": (303) 555-0127 ext. 4567 or"]
    assert cut("tel: 303-555-0127, 303-555-0128!") == [": 303-555-0127, 303-555-0128!"]
    assert cut("x 303-555-0127 and so on") == ["x 303-555-0127 and "]
    assert cut("at 10.0.0.1/24, no") == [" 10.0.0.1/24,"]
    assert cut("at ::ffff:10.0.0.1 no") == [" ::ffff:10.0.0.1 "]


def test_four_pairs_may_be_a_phone_number() -> None:
    assert kinds_of("12.34.56.78", min_digits=8) == [PHONE, IP]
    assert kinds_of("12.34.56.178", min_digits=8) == [IP]


def test_output_grows() -> None:
    texts = ["a@b.org 10.0.0.1 \n" * 500]
    found = windows_of(texts)
    assert len(found) == 1000
    assert found == twin(texts, 7)


def test_zeros_are_all_decimal_digits() -> None:
    every = {c for c in range(0x80, sys.maxunicode + 1) if chr(c).isdecimal()}
    assert {int(zero) + i for zero in scan._ZEROS for i in range(10)} == every
    assert all(unicodedata.decimal(chr(int(zero) + i)) == i for zero in scan._ZEROS for i in range(10))


@pytest.mark.parametrize(
    "unit", ["a", "a ", "@", "a@", "1.", "1:", ":", "(", "-", "1 ", "1234567890", "+1", "a.", "é", "٣", "x1"]
)
def test_time_is_linear(unit: str) -> None:
    scan.warm()
    text = text_buffers(pa.array([unit * (4_000_000 // len(unit))], pa.string()))
    before = time.process_time()
    find_windows(text)
    assert time.process_time() - before < 2.0


def test_one_specialisation_whatever_the_buffers() -> None:
    scan.warm()
    windows_of(["a@b.org"])
    find_windows(text_buffers(pa.array(["x", "a@b.org"]).slice(1)), min_digits=10)
    assert len(scan._scan.signatures) == 1
