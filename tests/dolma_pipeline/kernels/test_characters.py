"""Counts of kinds, URLs and mojibake against plain Python: `str`, a regular expression, and Python's own codecs."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.characters import count_kinds, count_url_characters
from dolma_pipeline.kernels.kinds import KINDS
from dolma_pipeline.kernels.scripts import group_kinds, group_table

URL = re.compile(
    r"(?ai)(?:(?<![a-z0-9])(?:https?|ftp)://|(?<![a-z0-9_])www\.(?=[a-z0-9]))(?P<rest>[a-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*)"
)
HONEST = "‚„…‹‘’“”•–—™›\xa0¨©«\xad®°²³´·¹º»"


def plain_urls(text: str) -> int:
    count = 0
    for url in URL.finditer(text):
        rest = url["rest"].rstrip(".,;:!?'\")]*")
        count += len(url[0]) - len(url["rest"]) + len(rest) if rest else 0
    return count


def plain_byte(char: str) -> int:
    """The byte that a character is in Windows-1252, or in Latin-1 where that has none."""
    try:
        return char.encode("cp1252")[0]
    except UnicodeEncodeError:
        return ord(char) if 0x80 <= ord(char) < 0x100 else 0


def plain_mojibake(text: str) -> int:
    i, runs = 0, [[0, 0, False]]  # characters, sequences, certain
    while i < len(text):
        lead = ord(text[i])
        size = 0 if not 0xC2 <= lead <= 0xF4 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        sequence = text[i : i + size]
        try:
            if len(sequence) != size or size == 0:
                raise ValueError
            bytes([lead, *map(plain_byte, sequence[1:])]).decode()
        except ValueError:
            runs.append([0, 0, False])
            i += 1
            continue
        runs[-1][0] += size
        runs[-1][1] += 1
        runs[-1][2] |= lead <= 0xC3 or any(char not in HONEST for char in sequence[1:])
        i += size
    return sum(chars for chars, sequences, certain in runs if certain or sequences > 1)


def plain_kinds(text: str) -> list[int]:
    each, table = group_kinds().tolist(), group_table()
    counts: Counter[str] = Counter()
    for char in text:
        counts.update(kind for kind, has in zip(KINDS, each[table[ord(char)]], strict=True) if has)
    return [counts[kind] for kind in KINDS]


def check(batch: Batch) -> None:
    kinds, mojibake = count_kinds(batch.text)
    assert kinds.tolist() == [plain_kinds(text) for text in batch.strings]
    assert mojibake.tolist() == [plain_mojibake(text) for text in batch.strings]
    assert count_url_characters(batch.text).tolist() == [plain_urls(text) for text in batch.strings]


BROKEN = st.text(max_size=4).map(lambda text: text.encode("utf-8", "ignore").decode("latin-1"))
PIECE = st.sampled_from(
    ["http", "s", "://", "www.", "ftp://", "WWW.", "a", "_", ".", ")", ":", "/", " ",
     "Ã", "©", "â", "€", "™", "É", "»", "”", "ð", "\x9f"]
)  # fmt: skip
ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
TEXT = st.lists(PIECE | BROKEN | ANY, max_size=20).map("".join)


@settings(max_examples=70, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts))
    check(Batch(Batch.of(texts).table.slice(1)))


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("cafÃ© crÃ¨me", "Ã©Ã¨"),
        ("itâ€™s", "â€™"),
        ("itâ\x80\x99s", "â\x80\x99"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚"),
        ("ðŸ˜€", "ðŸ˜€"),
        ("Å‚adny", ""),  # a low quotation mark behind a letter
        ("zażÃ³Å‚Ä‡", "Ã³Å‚Ä‡"),
        ("« CAFÉ» „MENÜ“ Spaß… été »", ""),
        ("São Paulo, Ãgua, Â«", "Â«"),
        ("ÉÉ Ã", ""),
    ],
)
def test_mojibake(text: str, broken: str) -> None:
    assert count_kinds(Batch.of([text]).text)[1].tolist() == [len(broken)]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://example.com/a_(b), and", "https://example.com/a_(b"),
        ("(www.example.com).", "www.example.com"),
        ("é HTTP://EXAMPLE.COM/ü", "HTTP://EXAMPLE.COM/"),
        ("xhttp://a gopher://b awww.c http:// www. www.. a:b http:/x", ""),
        ("ftp://a,http://b", "ftp://a,http://b"),
    ],
)
def test_urls(text: str, urls: str) -> None:
    assert count_url_characters(Batch.of([text]).text).tolist() == [len(urls)]


def test_real_documents_equal_plain_python(all_texts: list[str]) -> None:
    check(Batch.of([text[:2000] for text in all_texts[::60]]))
