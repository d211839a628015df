"""`refinedweb_v1` finds what a few lines of plain Python find, on any Unicode, in slices and on real text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.refinedweb import COUNTED, PHRASES
from dolma_pipeline.testing import check_tagger
from taggers.refinedweb import RefinedWeb

FIELDS = ("lines_of_capitals", "lines_of_digits", "counter_lines", "lines_of_one_word")


def is_counter(line: str) -> bool:
    inner = re.sub(r"^\W+|\W+$", "", line)
    return re.fullmatch(rf"[0-9][0-9.,]*[KkMmBb]?\s+(?i:{'|'.join(COUNTED)})", inner) is not None


def lower(text: str) -> str:
    return re.sub("[A-Z]+", lambda match: match[0].lower(), text)


def plain(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {**{name: [] for name in FIELDS}, "menu_phrases": []}
    at, removed = 0, 0
    for line in text.split("\n"):
        words, stop = line.split(), min(at + len(line) + 1, len(text))
        verdicts = (
            2 * sum(map(str.isupper, line)) > len(line),
            line.isdecimal(),
            len(words) > 1 and len(words) <= 10 and is_counter(line),
            len(words) == 1,
        )
        phrases = set()
        if words:
            for name, verdict in zip(FIELDS, verdicts, strict=True):
                found[name] += [(at, stop)] * verdict
            stripped, left = line.strip(), len(line) - len(line.lstrip())
            if len(words) <= 10:
                plainly = lower(stripped)
                first, anywhere, last = PHRASES
                if plainly.startswith(first):
                    phrases.add((at + left, at + left + len(first)))
                if anywhere in plainly:
                    start = at + left + plainly.index(anywhere)
                    phrases.add((start, start + len(anywhere)))
                if plainly.endswith(last):
                    end = at + left + len(stripped)
                    phrases.add((end - len(last), end))
            spans = [(at + match.start(), at + match.end()) for match in re.finditer(r"\S+", line)]
            inside = [any(a <= s and e <= b for a, b in phrases) for s, e in spans]
            removed += len(words) if any(verdicts) else sum(inside)
        found["menu_phrases"] += sorted(phrases)
        at += len(line) + 1
    found["removed_word_share"] = removed / max(1, len(text.split()))
    return found


def tagged(batch: Batch) -> list[dict[str, Any]]:
    columns = {name: pa.array(column).to_pylist() for name, column in RefinedWeb().tag(batch).items()}
    assert list(columns) == list(RefinedWeb.fields)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row in rows:
        for name in (*FIELDS, "menu_phrases"):
            row[name] = [(span["start"], span["end"]) for span in row[name]]
        row["menu_phrases"].sort()
    return rows


PARTS = ["SIGN-IN", "Sign-in now", "3 items in cart", "Read more...", "1,234 Likes", "2.5K views", "• 3 shares!"]
PIECES = st.sampled_from([*PARTS, "12", "٣", *" \n\n\n.A1é", "MENU", "two words", "K", "\u2028", "Ⅷ"])
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=3), max_size=20).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    expected = [*map(plain, texts)]
    batch = Batch.of(texts)
    assert tagged(batch) == expected
    assert tagged(Batch(batch.table.slice(1))) == expected[1:]


def test_equal_to_plain_python_on_real_text(all_texts: list[str]) -> None:
    texts = [text[:3000] for text in all_texts[::40]]
    assert tagged(Batch.of(texts)) == [*map(plain, texts)]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("BREAKING NEWS", "lines_of_capitals"),
        ("12345", "lines_of_digits"),
        ("3 likes", "counter_lines"),
        ("* 1.2M Followers *", "counter_lines"),
        ("Home", "lines_of_one_word"),
    ],
)
def test_each_kind_of_line(line: str, field: str) -> None:
    (row,) = tagged(Batch.of([f"A sentence of é words.\n{line}\nAnd another one."]))
    assert row[field] == [(23, 24 + len(line))]
    assert row["removed_word_share"] == pytest.approx(len(line.split()) / (8 + len(line.split())))


def test_it_keeps_the_contract_of_a_tagger() -> None:
    check_tagger("refinedweb_v1")


def test_long_texts_take_linear_time() -> None:
    texts = ["i" * 10**6, "\n" * 10**6, "1 " * 500_000, "A" * 10**6]
    shares = RefinedWeb().tag(Batch.of(texts))["removed_word_share"]
    assert np.array_equal(shares, [1.0, 0.0, 0.0, 1.0])
