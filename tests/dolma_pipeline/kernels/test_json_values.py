"""Values end where Python's json ends them; what is passed over is JSON, and what is usual is passed over."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.kernels.json_strings import BAD
from dolma_pipeline.kernels.json_values import MAX_DEPTH, at, is_null, skip_blanks, skip_integer, skip_value


def skip(raw: bytes, start: int = 0) -> int:
    return int(skip_value(np.frombuffer(raw, np.uint8), start))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.integers(-999, 999).map(lambda n: n / 8), TEXTS
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from([None, 0, 2, "\t"]), st.booleans(), st.sampled_from(["", ",", "}", "]", " "]))
def test_a_value_is_passed_over_to_its_end(value: Any, indent: Any, ascii: bool, behind: str) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii).replace("\n", "\r").encode()
    assert skip(b"xy" + raw + behind.encode(), 2) == 2 + len(raw)


PARTS = st.sampled_from(
    [*'{}[],:"\\ ', *"0123-+.eE", "true", "false", "null", '""', '"a"', '"a":', "[1]", "\\u0061", "\t"]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PARTS, max_size=9).map("".join))
def test_what_is_passed_over_whole_is_json(raw: str) -> None:
    end = skip(raw.encode())
    assert end == BAD or 0 < end <= len(raw)
    if end > 0:
        orjson.loads(raw[:end])
    elif is_usual(raw):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(raw)


def is_usual(raw: str) -> bool:
    """Whether JSON has nothing that is left to a full parser: here, exponents of three digits, or a blank before it."""
    return raw[:1] not in " \t" and "e" not in raw.lower().replace("true", "").replace("false", "")


USUAL = [
    r"0",
    r"-0",
    r"0.5",
    r"-12.25",
    r"1e5",
    r"1E+99",
    r"2e-07",
    r"true",
    r"false",
    r"null",
    r'""',
    r"[]",
    r"{}",
    r"[[],{}]",
    r'"\"]"',
    r'{"a":[1,{"b":"}]"}],"c":null}',
]


@pytest.mark.parametrize("raw", [*USUAL, "1" * 100, "[ 1 ,\t2 ]", '{ "a" : 1 , "b" : { } }'])
def test_usual_values(raw: str) -> None:
    assert skip(raw.encode()) == len(raw)
    orjson.loads(raw)


OTHERS = [
    "-",
    "+1",
    ".5",
    "1.",
    "1.e5",
    "1e",
    "1e+",
    "1e100",
    "tru",
    "truf",
    "fals",
    "falsy",
    "nul",
    "nulx",
    "NaN",
    "Infinity",
    "'a'",
    "]",
    "[",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1}",
    '"',
    '"a',
    "{",
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    "{,}",
    "{1:2}",
    '{"a":1]',
]


@pytest.mark.parametrize("raw", [*OTHERS, "", "1" * 101, "[1 2]", "[\n]", '{"a" 1}', '{"a":1 "b":2}'])
def test_other_values_are_bad(raw: str) -> None:
    assert skip(raw.encode()) == BAD


def test_depth_has_a_bound() -> None:
    for opened, closed in ((b"[", b"]"), (b'{"k":', b"}")):
        inner = b"1"
        assert skip(opened * MAX_DEPTH + inner + closed * MAX_DEPTH) == MAX_DEPTH * (len(opened) + 1) + 1
        assert skip(opened * (MAX_DEPTH + 1) + inner + closed * (MAX_DEPTH + 1)) == BAD


def test_a_number_ends_where_its_grammar_ends() -> None:
    assert [skip(raw) for raw in (b"01", b"-01", b"1.5.5", b"0x1", b"12 3")] == [1, 2, 3, 1, 2]


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**19), 10**19), st.sampled_from(["", ",", "}", " ", ".0", "e5", "E5"]))
def test_an_integer_is_one_that_is_written_as_it_stands(number: int, behind: str) -> None:
    raw = str(number)
    end = skip_integer(np.frombuffer((raw + behind).encode(), np.uint8), 0)
    plain = len(raw.lstrip("-")) <= 18 and behind not in (".0", "e5", "E5")
    assert end == (len(raw) if plain else BAD)


def test_places_beyond_the_end_are_no_json() -> None:
    data = np.frombuffer(b" \t\rnull", np.uint8)
    assert (skip_blanks(data, 0), at(data, 3), at(data, 7), at(data, 99)) == (3, ord("n"), 0, 0)
    assert [bool(is_null(data, i)) for i in range(8)] == [False, False, False, True, False, False, False, False]
