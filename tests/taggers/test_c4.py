"""`c4_v1` on labelled texts: numbers are as measured, and removing its lines leaves C4's text."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE, Batch
from taggers.c4 import C4

LISTS = ("lines_without_end", "lines_with_few_words", "lines_with_javascript", "lines_with_policy")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@pytest.fixture(scope="module")
def labelled(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def columns(labelled: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(C4().tag(Batch.of([row["text"] for row in labelled])))


def cut(text: str, *lists: list[dict[str, Any]]) -> str:
    """The text without the spans of these lists."""
    gone = {i for spans in lists for span in spans for i in range(span["start"], span["end"])}
    return "".join(char for i, char in enumerate(text) if i not in gone)


MARK = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")


def plain_lists(text: str, *, min_words: int = 5, cut: bool = False) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {name: [] for name in LISTS}
    start = 0
    for line in text.split("\n"):
        end = min(start + len(line) + 1, len(text))
        line = MARK.sub("", line) if cut else line
        plain, stripped = line.lower(), line.strip()
        verdicts = (
            not stripped.endswith(tuple(".?!\"'”’")) or stripped.endswith("..."),
            len(line.split()) < min_words,
            "javascript" in plain,
            any(phrase in plain for phrase in POLICIES),
        )
        for name, verdict in zip(LISTS, verdicts, strict=True):
            if verdict and end > start:
                spans[name].append((start, end))
        start = end
    return spans


def check(texts: list[str], *, min_words: int = 5, cut: bool = False) -> None:
    found = C4(min_words=min_words, without_citations=cut).tag(Batch.of(texts))
    rows = {name: found[name].to_pylist() for name in LISTS}
    citations = found["citations"].to_pylist()
    for i, text in enumerate(texts):
        expected = plain_lists(text, min_words=min_words, cut=cut)
        marks = [(span["start"], span["end"]) for span in citations[i]]
        assert marks == [match.span() for match in MARK.finditer(text)]
        for name in LISTS:
            assert [(span["start"], span["end"]) for span in rows[name][i]] == expected[name]
            assert {span["score"] for span in rows[name][i]} <= {1.0}
        gone = {span for name in LISTS for span in expected[name]}
        starts = {start for start, _ in gone}
        kept, at = [], 0
        for line in text.split("\n"):
            if at not in starts and line.strip():
                kept.append((MARK.sub("", line) if cut else line).strip())
            at += len(line) + 1
        assert found["kept_line_count"][i] == len(kept)
        assert found["line_count"][i] == sum(line.strip() != "" for line in text.split("\n"))
        assert found["sentence_count"][i] == sum(len(re.findall(r'[.!?]["”]?(?:\s|$)', line)) for line in kept)
        assert found["has_curly_bracket"][i] == ("{" in text)
        assert found["has_lorem_ipsum"][i] == ("lorem ipsum" in text.lower())


def test_numbers_equal_an_independent_measurement(labelled: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    measured = {
        name: np.array([row["measured"][name] for row in labelled]) for name in labelled[0]["measured"] if "c4" in name
    }
    assert np.array_equal(columns["sentence_count"], measured["c4_sentences_kept"])
    assert np.array_equal(columns["has_curly_bracket"], measured["c4_curly"])
    assert np.array_equal(columns["has_lorem_ipsum"], measured["c4_lorem_ipsum"])
    for field, name in (("lines_with_javascript", "c4_js_lines"), ("lines_with_policy", "c4_policy_lines")):
        assert [len(spans) for spans in columns[field].to_pylist()] == measured[name].tolist()
    share = columns["kept_line_count"] / np.maximum(columns["line_count"], 1)
    np.testing.assert_allclose(share, measured["c4_lines_kept_frac"], rtol=0, atol=5.001e-5)


def test_removing_the_lists_leaves_what_c4_keeps(labelled: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    lists = [columns[name].to_pylist() for name in LISTS]
    for i, row in enumerate(labelled[::20]):
        left = cut(row["text"], *(spans[i * 20] for spans in lists))
        kept = [line for line in left.split("\n") if line.strip()]
        assert len(kept) == columns["kept_line_count"][i * 20]
        assert left.count("\n") <= len(kept)


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("A whole sentence stands here.\nmenu\n", "lines_without_end", [(30, 35)]),
        ("It goes on and on...\n", "lines_without_end", [(0, 21)]),
        ("É said, “this is the end.”", "lines_without_end", []),
        ("\n\nà", "lines_without_end", [(0, 1), (1, 2), (2, 3)]),
        ("One two three four five.\nOne two three four.", "lines_with_few_words", [(25, 44)]),
        ("😀😀 Please enable JavaScript.\nok", "lines_with_javascript", [(0, 29)]),
        ("ok\nWe use cookies", "lines_with_policy", [(3, 17)]),
    ],
)
def test_spans_cover_the_line_and_its_newline(text: str, field: str, expected: list[tuple[int, int]]) -> None:
    [spans] = C4().tag(Batch.of([text]))[field].to_pylist()
    assert [(span["start"], span["end"]) for span in spans] == expected


def test_parameters_change_what_a_line_must_be() -> None:
    text = "三个词 在 这里。\nthree short words."
    strict, loose = C4(), C4(min_words=3, end_marks=".。")
    assert strict.tag(Batch.of([text]))["kept_line_count"].tolist() == [0]
    assert loose.tag(Batch.of([text]))["kept_line_count"].tolist() == [2]


def test_fields_and_their_types() -> None:
    found = C4().tag(Batch.of(["", "a", "{"]))
    assert list(found) == list(C4.fields)
    for name, kind in C4.fields.items():
        column = pa.array(found[name])
        assert column.type == {bool: pa.bool_(), int: pa.int64()}.get(kind, SPANS_TYPE)
        assert len(column) == 3
    assert [found[name].to_pylist()[0] for name in LISTS] == [[]] * 4


PARTS = ["\n", "\n\n", "[1]", "[citation needed]", "[", "words. ", "five words are in here.", "é", "😀", " ", "…"]
TEXT = st.lists(
    st.sampled_from([*PARTS, "use cookies", "lorem ipsum"])
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\u212a"), max_size=6),
    max_size=25,
).map("".join)  # the Kelvin sign lower-cases to k, which C4 does not look for


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(0, 6), st.booleans())
def test_equal_to_plain_python_on_any_unicode(texts: list[str], min_words: int, cut: bool) -> None:
    check(texts, min_words=min_words, cut=cut)


def test_slices() -> None:
    texts = ["é one.\n{", "A longer line of words here.\nno\n", "lorem ipsum\n\nThis is ünïcode, and it ends.", "x"]
    whole = C4().tag(Batch.of(texts))
    part = C4().tag(Batch(Batch.of(texts).table.slice(1, 2)))
    for name in C4.fields:
        assert pa.array(part[name]).to_pylist() == pa.array(whole[name]).to_pylist()[1:3]


def test_all_real_documents_equal_plain_python(all_texts: list[str]) -> None:
    for first in range(0, len(all_texts), 1000):
        check(all_texts[first : first + 1000], cut=first % 2000 == 0)


def test_a_line_is_judged_without_its_citations() -> None:
    text = "The bridge was built in 1912.[1][citation needed]\nHistory[edit]\nIt [2] has [3] five"
    plain, cut = C4().tag(Batch.of([text])), C4(without_citations=True).tag(Batch.of([text]))
    assert plain["kept_line_count"].tolist() == [0]
    assert cut["kept_line_count"].tolist() == [1]
    assert cut["sentence_count"].tolist() == [1]
    assert len(plain["lines_with_few_words"].to_pylist()[0]) == 1
    assert len(cut["lines_with_few_words"].to_pylist()[0]) == 2
    assert plain["citations"].to_pylist() == cut["citations"].to_pylist()
    assert len(cut["citations"].to_pylist()[0]) == 5
