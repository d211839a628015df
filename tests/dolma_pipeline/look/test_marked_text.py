"""Marks below a text: where they stand, rows that are cut, spans that overlap, and texts in all scripts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.documents import Span
from dolma_pipeline.look.marked_text import Marks, marked


def shown(text: str, *spans: tuple[int, int], width: int = 80, full: bool = True) -> list[str]:
    """Lines without the margin."""
    lines = marked(text, [Marks("f", [Span(*span) for span in spans])], width=width, full=full).splitlines()
    return [line if line.startswith("…") else line[len("text |") :] for line in lines]


def test_marks_stand_below_their_characters() -> None:
    assert marked("see me@x.org now", [Marks("pii_v1.email", [Span(4, 12)])], width=60) == (
        "text         |see me@x.org now\npii_v1.email |    <------>\n"
    )
    assert shown("one two", (0, 3), (4, 7)) == ["one two", "<-> <->"]
    assert shown("one two", (0, 1), (1, 3), (5, 5)) == ["one two", "^<>  !"]


def test_spans_that_overlap_stand_apart() -> None:
    assert shown("abcdefgh", (0, 6), (2, 4), (4, 8), (6, 8)) == ["abcdefgh", "<----><>", "  <><-->"]
    both = marked("abcdef", [Marks("a", [Span(0, 4)]), Marks("b", [Span(2, 6)])], width=40)
    assert both == "text |abcdef\na    |<-->\nb    |  <-->\n"


def test_a_span_over_lines_goes_on() -> None:
    assert shown("one\ntwo\nthree", (1, 10)) == ["one", " <-", "two", "---", "three", "->"]
    assert shown("x" * 30, (5, 25), width=27) == ["x" * 20, "     <" + "-" * 14, "x" * 10, "---->"]


def test_a_line_is_shown_with_its_newline() -> None:
    assert shown("one\ntwo\n", (0, 4), (4, 8)) == ["one", "<->", "two", "<->"]
    assert shown("\n\n", (0, 1), (1, 2)) == ["", "^", "", "^"]
    assert shown("", (0, 0)) == ["", "!"]


def test_wide_characters_take_two_cells_and_marks_above_none() -> None:
    assert shown("视野 ab", (0, 2), (3, 4)) == ["视野 ab", "<--> ^"]
    assert shown("e\u0301a b", (2, 3)) == ["e\u0301a b", " ^"]


def test_what_a_terminal_would_obey_is_a_dot() -> None:
    assert shown("a\x1b[31mb\u202ec\t", (0, 1)) == ["a·[31mb·c·", "^"]


def test_rows_far_from_marks_are_left_out() -> None:
    text = "\n".join("abcdefghij")
    assert shown(text, (8, 9), full=False) == ["… 3 rows without marks", "d", "e", "^", "f", "… 4 rows without marks"]
    assert shown("a\nb\nc", (0, 1), full=False) == ["a", "^", "b", "… 1 row without marks"]


def test_colours_change_no_character() -> None:
    marks = [Marks("a", [Span(0, 2), Span(3, 5)]), Marks("b", [Span(1, 4)])]
    text = "视野 ab\nmore"
    coloured = marked(text, marks, width=60, full=True, colours=True)
    assert "\x1b[36ma    |<--> <>\x1b[0m\n\x1b[35mb    |  <-->\x1b[0m\n" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == marked(text, marks, width=60, full=True)


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(st.text(st.characters(codec="utf-8"), max_size=60))
    places = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(places, places), max_size=6))
    return text, [Span(min(pair), max(pair)) for pair in pairs]


@given(texts_with_spans(), st.integers(27, 60))
def test_every_span_begins_and_ends_once(example: tuple[str, list[Span]], width: int) -> None:
    text, spans = example
    lines = marked(text, [Marks("f", spans)], width=width, full=True).split("\n")[:-1]
    signs = "".join(line[6:] for line in lines if line.startswith("f    |"))
    empty = sum(span.start == span.end for span in spans)
    assert signs.count("!") == empty
    begun, ended = (signs.count("^") + signs.count(sign) for sign in "<>")
    assert begun == ended or any(ord(c) > 127 or c == "\n" for c in text)
    if text.isascii() and "\n" not in text:
        assert begun == len(spans) - empty


@pytest.mark.parametrize("text", ["x" * 30_000, "\n" * 30_000, "视" * 30_000])
def test_long_texts(text: str) -> None:
    assert len(shown(text, (0, len(text)), full=False)) > 2
