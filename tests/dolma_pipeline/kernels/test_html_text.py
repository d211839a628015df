"""Visible characters against Python's own HTML parser, and case by case."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.html_text import visible_characters


def visible(text: str) -> int:
    batch = Batch.of(["<b>not asked", text])
    counts = visible_characters(batch.text, np.array([False, True])).tolist()
    assert counts[0] == 0
    return int(counts[1])


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", ""),
        ("<p class='a>b' title=\"c>\">é  ü\n</p>", "é ü"),
        ("<P>a</P><p>b</p>", "a b"),
        ("a<!-- <p>no --> b<!---->c<!--> d", "a b c d"),
        ("<script>if (a < b) { '<p>' }</script>x<style>\np { }</style >y", "x y"),
        ("<SCRIPT src=x></SCRIPT>z<scripts>w", "z w"),
        ("1 < 2 <3 &amp; <", "1 < 2 <3 &amp; <"),
        ("<!DOCTYPE html><?xml?>\n\ta\n", "a"),
        ("it's <b>'it'</b> <a href=x>'>", "it's 'it' '>"),
        ("open <p class=", "open"),
        ("<script>never closed", ""),
        ("<style", ""),
    ],
)
def test_what_is_seen(text: str, seen: str) -> None:
    assert visible(text) == len(seen)


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.parts.append(" ")
        self.hidden = int(tag in ("script", "style"))

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(" ")
        self.hidden = 0

    def handle_comment(self, data: str) -> None:
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        self.parts.append(data * (not self.hidden))


PIECES = ["<p>", "</p>", "<b class='x y'>", '<a href="u>v">', "<!-- c -->",
          "<script>a<b</script>", "<STYLE>p</STYLE>", "word", "é", " ", "\n", "1 > 0"]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_equal_to_pythons_parser(text: str) -> None:
    parser = Seen()
    parser.feed(text)
    parser.close()
    assert visible(text) == len(" ".join("".join(parser.parts).split()))
