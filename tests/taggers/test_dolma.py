"""`dolma_gopher_v2`, `dolma_c4_v2`, `dolma_pii_fast_v2` against what Dolma says, and where they differ on purpose.

tests/golden/dolma_taggers.json was made by the script beside it with dolma 1.2.1.
"""

from __future__ import annotations

import hashlib
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.tagging import LoadedTagger
from dolma_pipeline.testing import check_tagger
from taggers.dolma_c4 import NAUGHTY_WORDS, NaughtyWords
from taggers.dolma_emails import find_emails
from taggers.dolma_pii import _phones

GOLDEN = Path(__file__).parents[1] / "golden"
script = runpy.run_path(str(GOLDEN / "dolma_taggers.py"))
TEXTS: list[str] = script["all_texts"]()
SAID: list[dict[str, dict[str, list[Any]]]] = json.loads((GOLDEN / "dolma_taggers.json").read_text())


@pytest.fixture
def naughty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up list in the place of the real one."""
    content = "".join(f"{word}\n" for word in script["NAUGHTY"]).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    known = assets.Asset(NAUGHTY_WORDS, "words.txt", sha256, len(content), "CC0-1.0", "words", ())
    monkeypatch.setitem(assets.ASSETS, NAUGHTY_WORDS, known)
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
    (tmp_path / "given.txt").write_bytes(content)
    assets.fetch(NAUGHTY_WORDS, path=tmp_path / "given.txt")


def rows(tagger: LoadedTagger, texts: list[str]) -> list[dict[str, Any]]:
    column, failures = tagger.attributes(Batch.of(texts))
    assert not failures
    return [
        {field: [Span(**one) for one in value] if isinstance(value, list) else value for field, value in row.items()}
        for row in column.to_pylist()
    ]


def as_ours(said: dict[str, list[Any]], tagger: LoadedTagger) -> dict[str, Any]:
    """What Dolma says in our types: what it leaves out is 0, false or no spans."""
    unknown = said.keys() - tagger.fields.keys()
    assert not unknown
    made: dict[str, Any] = {}
    for field, kind in tagger.fields.items():
        spans = said.get(field, [])
        made[field] = [Span(*one) for one in spans] if kind == list[Span] else kind(spans[0][2]) if spans else kind()
    return made


def test_gopher_is_dolmas_digit_for_digit() -> None:
    tagger = load_tagger("dolma_gopher_v2", keep_defects=True)
    for text, said, row in zip(TEXTS, SAID, rows(tagger, TEXTS), strict=True):
        assert row == as_ours(said["gopher"], tagger), text


def test_gopher_characters_of_duplicate_lines_are_a_share() -> None:
    ours, theirs = rows(load_tagger("dolma_gopher_v2"), TEXTS), load_tagger("dolma_gopher_v2", keep_defects=True)
    field = "fraction_of_characters_in_duplicate_lines"
    for text, said, row in zip(TEXTS, SAID, ours, strict=True):
        lines = [line for line in text.split("\n") if line]
        repeated = sum(len(line) for line in lines if lines.count(line) > 1)
        assert row[field] == round(repeated / max(1, sum(map(len, lines))), 5)
        assert {**row, field: 0} == {**as_ours(said["gopher"], theirs), field: 0}
    assert max(said["gopher"][field][0][2] for said in SAID) > 1


def test_c4_is_dolmas(naughty: None) -> None:
    tagger = load_tagger("dolma_c4_v2")
    for text, said, row in zip(TEXTS, SAID, rows(tagger, TEXTS), strict=True):
        if len(text.lower()) == len(text):
            assert row == as_ours(said["c4"], tagger), text
    without = load_tagger("dolma_c4_v2", naughty_words=False)
    assert without.assets == ()
    assert "has_naughty_word" not in rows(without, ["a"])[0]


def test_c4_spans_count_the_characters_of_the_text_not_of_its_small_form(naughty: None) -> None:
    text = "İstanbul'da\nİzmir'de iki satır\nson satır."
    said = SAID[TEXTS.index(text)]["c4"]
    assert said["lines_with_too_few_words"] == [[0, 13, 1.0], [33, 43, 1.0]]  # two past its lines, one past its end
    row = rows(load_tagger("dolma_c4_v2"), [text])[0]
    few = [text[span.start : span.end] for span in row["lines_with_too_few_words"]]
    assert few == ["İstanbul'da\n", "son satır."]


def test_pii_is_dolmas() -> None:
    tagger = load_tagger("dolma_pii_fast_v2", keep_defects=True)
    for text, said, row in zip(TEXTS, SAID, rows(tagger, TEXTS), strict=True):
        assert row == as_ours(said["pii"], tagger), text


@pytest.mark.parametrize(
    ("text", "field", "dolmas", "ours"),
    [
        ("mail a@b.org", "EMAIL_ADDRESS", [], ["a@b.org"]),
        ("is: a@b.org, or", "EMAIL_ADDRESS", [": a@b.org, "], ["a@b.org"]),
        ("(a@b.org) or", "EMAIL_ADDRESS", ["(a@b.org) "], ["a@b.org"]),
        ("from a@b.org.\n", "EMAIL_ADDRESS", [" a@b.org.\n"], ["a@b.org"]),
        ("at 999.1.1.1 now", "IP_ADDRESS", ["99.1.1.1"], []),
        ("in 1.2.3.4.5 now", "IP_ADDRESS", ["1.2.3.4"], []),
        ("at 192.0.2.7, 192.0.2.8.", "IP_ADDRESS", ["192.0.2.7", "192.0.2.8"], ["192.0.2.7", "192.0.2.8"]),
    ],
)
def test_where_pii_differs(text: str, field: str, dolmas: list[str], ours: list[str]) -> None:
    for keep_defects, expected in ((True, dolmas), (False, ours)):
        (row,) = rows(load_tagger("dolma_pii_fast_v2", keep_defects=keep_defects), [text])
        assert [text[span.start : span.end] for span in row[field]] == expected
        assert row["doc_count"] == len(expected)
        share = sum(map(len, expected)) / len(text) + keep_defects
        assert row["doc_frac"] == round(share, 5)


EMAIL = "[.\\s@,?!;:)(]*([^\\s@]+@[^\\s@,?!;:)(]+?)[.\\s@,?!;:)(]?"
PHONE = re.compile(r"\s+\(?(\d{3})\)?[-\. ]*(\d{3})[-. ]?(\d{4})")


@given(st.text(st.sampled_from("aab@@..,( )\t\u00a0:"), max_size=30), st.booleans())
def test_addresses_are_those_of_the_expression(text: str, at_end: bool) -> None:
    expression = re.compile(EMAIL + (r"(?:\s|\Z)" if at_end else r"\s"))
    expected = [(one.start(), one.start(1), one.end(1), one.end()) for one in expression.finditer(text)]
    assert [(one.start, one.first, one.last, one.end) for one in find_emails(text, at_end=at_end)] == expected


@given(st.lists(st.sampled_from(["123", "4567", "1", "-", ". ", " ", "(", ")", "\t", "٣"]), max_size=16).map("".join))
def test_numbers_are_those_of_the_expression(text: str) -> None:
    assert list(_phones(text)) == [one.span() for one in PHONE.finditer(text)]


WORDS = ["darn", "heck", "🖕", "holy moly", "2 bad eggs", "k a b c"]


@given(
    st.lists(st.sampled_from([*WORDS, "DARN", "Holy", "moly", "2", "bad", "hec\u212a", " ", "\n", "é"]), max_size=12)
)
def test_naughty_words_are_found_as_dolma_finds_them(pieces: list[str]) -> None:
    texts = [" ".join(pieces), "".join(pieces), "ecK", ""]
    lowered = [text.lower() for text in texts]
    words = {one for one in WORDS if " " not in one}
    expected = [
        any(word in words for word in one.split()) or any(phrase in one for phrase in WORDS if " " in phrase)
        for one in lowered
    ]
    assert NaughtyWords(WORDS).found(Batch.of(texts).text, lowered).tolist() == expected


def test_the_contract(naughty: None) -> None:
    check_tagger("dolma_c4_v2")
    for name in ("dolma_gopher_v2", "dolma_pii_fast_v2"):
        check_tagger(name)
        check_tagger(name, keep_defects=True)


@pytest.mark.parametrize(
    "text", ["@" + "x" * 300_000, " " * 300_000 + "1", ",@" * 100_000, "x@y. " * 60_000, "\n" * 300_000]
)
def test_long_texts_take_linear_time(text: str) -> None:
    (row,) = rows(load_tagger("dolma_pii_fast_v2"), [text])  # the expressions themselves would take minutes
    assert row["doc_count"] == 0
