"""Recognizers of a recipe: what they find, how sure, in what time, and what is wrong with one."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.testing import check_tagger
from taggers.pii import Pii
from taggers.pii_custom import PIECE_BYTES, pieces_of

MEMBER = {"pattern": r"\bM-\d{4}", "context": ["Member"], "context_chars": 20, "score": 0.3}


def tagged(custom: dict[str, Any], *texts: str) -> list[list[tuple[str, float]]]:
    (field,) = custom
    tagger = Pii(entities=(), custom=custom)
    tagger.setup()
    rows = tagger.tag(Batch.of(texts))[field].to_pylist()
    return [
        [(text[s["start"] : s["end"]], round(s["score"], 2)) for s in spans]
        for text, spans in zip(texts, rows, strict=True)
    ]


def test_context_raises_the_score_and_is_near() -> None:
    found = tagged(
        {"m": MEMBER}, "é MEMBER no. M-1234", "M-1234 is a member", "M-1234" + " " * 20 + "member", "member\nM-1"
    )
    assert found == [[("M-1234", 0.65)], [("M-1234", 0.65)], [("M-1234", 0.3)], []]
    assert tagged({"m": {**MEMBER, "score": 0.0}}, "member M-1234") == [[("M-1234", 0.4)]]
    assert tagged({"m": {**MEMBER, "score": 1.0}}, "member M-1234") == [[("M-1234", 1.0)]]


def test_a_checksum_must_hold() -> None:
    custom = {"n": {"pattern": "[0-9][0-9 -]{9,}[0-9]", "checksum": "luhn"}}
    assert tagged(custom, "7992-7398 713, 79927398714.") == [[("7992-7398 713", 0.5)]]
    assert tagged({"n": {"pattern": "M[0-9]+", "checksum": "luhn"}}, "M799270 M799271") == [[("M799270", 0.5)]]
    custom = {"n": {"pattern": "NL[0-9A-Z -]+[0-9]", "checksum": "mod97"}}
    assert tagged(custom, "NL91 ABNA-0417164300!", "NL91 ABNA 0417164301") == [[("NL91 ABNA-0417164300", 0.5)], []]


def test_a_plain_pattern_and_the_edges_of_a_line() -> None:
    assert tagged({"x": "(?i)^id=[a-z]+$"}, "ID=ab\nid=c d\nid=é\nid=é id=f\nid=g") == [[("ID=ab", 0.5), ("id=g", 0.5)]]


def test_entities_stay_what_they_are() -> None:
    tagger = Pii(entities=("email",), custom={"m": MEMBER})
    tagger.setup()
    assert dict(tagger.fields).keys() == {"email", "m"}
    columns = tagger.tag(Batch.of(["M-1234 a@b.org"]))
    assert {name: len(column[0]) for name, column in columns.items()} == {"email": 1, "m": 1}
    check_tagger("pii_v1", entities=["email"], custom={"m": MEMBER, "any": "[^ ]+"})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab1 \n\x02\x03\ue000é漢-"), max_size=30), max_size=4))
def test_equals_python_s_re_line_by_line(texts: list[str]) -> None:
    for pattern in ("[ab]+1?", "é|\x02|漢-", "[^a ]{2,3}", r"b\b"):
        found = tagged({"x": pattern}, *texts)
        ascii_only = re.compile(pattern, re.MULTILINE | re.ASCII)
        for text, spans in zip(texts, found, strict=True):
            lines = text.split("\n")
            pieces = [line + "\n" for line in lines[:-1]] + lines[-1:]
            assert [value for value, _ in spans] == [m[0] for piece in pieces for m in ascii_only.finditer(piece)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "é", "漢 ", "\n", "😀"]), st.integers(0, 6000)), max_size=4))
def test_pieces_are_the_texts_cut_between_characters(parts: list[tuple[str, int]]) -> None:
    texts = ["".join(char * count for char, count in parts), "", "x"]
    batch = Batch(Batch.of(["before", *texts]).table.slice(1))
    pieces = pieces_of(batch).to_pylist()
    assert "".join(pieces) == "".join(texts)
    assert all(len(piece.encode()) <= PIECE_BYTES + 1 for piece in pieces)
    assert all("\n" not in piece[:-1] for piece in pieces)


def test_a_value_in_a_long_line_is_found() -> None:
    text = "a " * 5000 + "M-1111 " + "é" * 9000 + " M-2222"
    assert tagged({"m": MEMBER}, text) == [[("M-1111", 0.3), ("M-2222", 0.3)]]


def test_time_is_linear_for_a_pattern_that_would_look_far_ahead() -> None:
    text = "ac" * 80_000
    before = time.process_time()
    assert len(tagged({"x": "(?:a[^c]*c[^b]*b|c)"}, text)[0]) == 80_000
    assert time.process_time() - before < 8.0


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"x": "(a"}, r"custom\.x\.pattern: '\(a' is no regular expression of RE2: missing \)"),
        ({"x": "(?=a)b"}, r"custom\.x\.pattern: .*invalid perl operator.*no look-around"),
        ({"x": "a*"}, r"custom\.x\.pattern: 'a\*' may match nothing at all"),
        ({"x": r"a|\b"}, "may match nothing at all"),
        ({"x": r"\B"}, "may match nothing at all"),
        ({"x": "$"}, "may match nothing at all"),
        ({"x": ""}, r"custom\.x\.pattern: expected a regular expression, got ''"),
        ({"x": 1}, r"custom\.x: expected a pattern, or a mapping with `pattern`; got 1"),
        ({"email": "a"}, r"custom\.email: there is an entity of this name"),
        ({"Xy": "a"}, r"custom\.Xy: a name is lower-case letters"),
        ({"x": {"pattern": "a", "contxt": []}}, r"custom\.x: no key named 'contxt'\. Did you mean 'context'"),
        ({"x": {"pattern": "a", "checksum": "lunh"}}, r"custom\.x\.checksum: no checksum named 'lunh'\."),
        ({"x": {"pattern": "a", "score": 2}}, r"custom\.x\.score: expected a number from 0 to 1, got 2"),
        ({"x": {"pattern": "a", "score": True}}, r"custom\.x\.score"),
        ({"x": {"pattern": "a", "context": "b"}}, r"custom\.x\.context: expected a list of words, got 'b'"),
        ({"x": {"pattern": "a", "context": ["b"], "context_chars": 0}}, r"custom\.x\.context_chars: expected"),
        ({"x": {"pattern": "a", "context_chars": 9}}, r"custom\.x\.context_chars: has no effect without `context`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_recognizer(custom: dict[str, Any], message: str) -> None:
    with pytest.raises(TaggerError, match=message):
        Pii(custom=custom)
