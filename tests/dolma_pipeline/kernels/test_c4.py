"""C4's verdicts equal plain Python over `split("\\n")`, on all of Unicode, in slices and on real text."""

from __future__ import annotations

import gzip
import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.c4 import FEW_WORDS, JAVASCRIPT, NO_END, POLICY, POLICY_PHRASES, judge_lines

MARKS = ".?!\"'”’"
ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
CHARACTERS = ' \n\n\u2028\xa0.!"”’…)。{}éİ'
PARTS = [
    *("  ", "...", "word", "Five words are in here", "JavaScript", "javascripts ", "java", "script", "Terms of Use"),
    *("terms of", " use", "used ", "uses ", "cookies", "cookie ", "policy", "privacy ", "coo\u212aies"),
    *("Lorem Ipsum", "lorem", " ipsum"),
]
PIECES = st.sampled_from([*CHARACTERS, *PARTS])
TEXT = st.lists(PIECES | st.text(st.characters(exclude_categories=("Cs",)), max_size=5), max_size=40).map("".join)


def plain_flags(line: str, min_words: int, marks: str) -> int:
    plain, stripped = line.translate(ASCII_LOWER), line.strip()
    ends = stripped != "" and stripped[-1] in marks and not stripped.endswith("...")
    return (
        NO_END * (not ends)
        + FEW_WORDS * (len(line.split()) < min_words)
        + JAVASCRIPT * ("javascript" in plain)
        + POLICY * any(phrase in plain for phrase in POLICY_PHRASES)
    )


def check(batch: Batch, texts: list[str], *, min_words: int = 5, marks: str = MARKS) -> None:
    found = judge_lines(batch.text, batch.lines, batch.bitmaps, min_words=min_words, end_marks=marks)
    for row, text in enumerate(texts):
        lines = text.split("\n")
        flags = [plain_flags(line, min_words, marks) for line in lines]
        assert found.flags[batch.lines.rows[row] : batch.lines.rows[row + 1]].tolist() == flags
        kept = [line.strip() for line, flag in zip(lines, flags, strict=True) if flag == 0 and line.strip()]
        assert found.line_count[row] == sum(line.strip() != "" for line in lines)
        assert found.kept_line_count[row] == len(kept)
        assert found.sentence_count[row] == sum(len(re.findall(r'[.!?]["”]?(?:\s|$)', line)) for line in kept)
        assert found.has_curly_bracket[row] == ("{" in text)
        assert found.has_lorem_ipsum[row] == ("lorem ipsum" in text.translate(ASCII_LOWER))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(0, 6), st.sampled_from([MARKS, ".", "。é"]))
def test_equal_to_plain_python_on_any_unicode(texts: list[str], min_words: int, marks: str) -> None:
    check(Batch.of(texts), texts, min_words=min_words, marks=marks)


@pytest.mark.parametrize("inner", ["é", "д", "中", "🙂", "\xa0", "\u3000", "”", '"', "\t", "\x1f", "j", "J"])
def test_whatever_stands_where_eight_bytes_end(inner: str) -> None:
    """Every place of a character, a mark and a blank in the bytes that are looked at together."""
    texts = [
        "a" * before + inner * times + mark + after + "use cookies. and javascript more"
        for before in range(9)
        for times in range(1, 4)
        for mark in (".", '."', ".”", "", "?!")
        for after in ("", " ", "  b")
    ]
    check(Batch.of(texts), texts, min_words=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=3, max_size=5))
def test_a_slice_is_judged_by_its_own_rows(texts: list[str]) -> None:
    check(Batch(Batch.of(texts).table.slice(1, len(texts) - 2)), texts[1:-1])


@pytest.mark.parametrize("phrase", POLICY_PHRASES)
def test_every_policy_phrase_is_found_inside_a_line_only(phrase: str) -> None:
    texts = [f"See our {phrase.title()}.", f"x{phrase}y", phrase, phrase.replace(" ", "\n"), phrase.replace(" ", "  ")]
    batch = Batch.of(texts)
    found = judge_lines(batch.text, batch.lines, batch.bitmaps, min_words=1, end_marks=MARKS)
    first = [bool(found.flags[start] & POLICY) for start in batch.lines.rows[:-1]]
    assert first == [True, True, True, False, False]
    check(batch, texts)


def test_empty_texts_and_an_empty_batch() -> None:
    check(Batch.of(["", "", "{", ""]), ["", "", "{", ""])
    empty = Batch.of([])
    found = judge_lines(empty.text, empty.lines, empty.bitmaps, min_words=5, end_marks=MARKS)
    assert [len(column) for column in found] == [0] * 6


def test_quality_texts(data: Path) -> None:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    check(Batch.of(texts), texts)
