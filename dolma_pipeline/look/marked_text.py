"""A text with its spans marked below each line, a row of marks for each field, so that spans may overlap.

    text          | Mail jo@example.org or 212 555 0100.
    pii_v1.email  |      <------------>
    pii_v1.phone  |                        <---------->

`<` is where a span begins and `>` where it ends, `^` a span of one character, `!` an empty one, before that character.
Spans of one field that overlap stand in rows of their own. Cost: ~1 s for a million characters.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dolma_pipeline.documents import Span

CONTEXT_ROWS = 1
"""Rows of text without a mark that are shown before and after one with marks."""
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, which a terminal would obey; they are shown as a dot."""
_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")


class Marks(NamedTuple):
    """The spans of one field, in any order."""

    name: str
    spans: Sequence[Span]


_Line = tuple[str, list[tuple[str, int, int]]]
"""A line, and colour, first cell and cell after the last of its stretches."""


class _Row(NamedTuple):
    """A row of text as it is shown.

    Args:
        start, end: its code points, `end` behind the newline, if there is one.
        shown: what is printed of them.
        cells: the cell at which each character of `shown` begins, and that at which the last one ends.
    """

    start: int
    end: int
    shown: str
    cells: Sequence[int]


def marked(text: str, marks: Sequence[Marks], *, width: int, full: bool = False, colours: bool = False) -> str:
    """The text in rows of at most `width` cells, with marks.

    Args:
        full: all rows; else those near a mark, and how many are left out.
        colours: for a terminal: each field has a colour of its own, and so has the text of its spans.
    """
    lanes = _lanes(marks)
    margin = max(len(name) for name in ("text", *(lane.name for lane in lanes)))
    rows = list(_rows(text, max(20, width - margin - 3)))
    below = _below(rows, lanes)
    near = {at + step for at in below for step in range(-CONTEXT_ROWS, CONTEXT_ROWS + 1)}
    lines: list[_Line] = []
    skipped = 0
    for at, row in enumerate(rows):
        if not full and at not in near:
            skipped += 1
            continue
        lines += _left_out(skipped)
        skipped = 0
        found = below.get(at, [])
        tinted = [(_colour(lane, marks), margin + 2 + a, margin + 2 + b) for lane, _, cells in found for a, b in cells]
        lines.append((f"{'text':<{margin}} |{row.shown}".rstrip(), tinted))
        for lane, signs, _ in found:
            lines.append((f"{lane.name:<{margin}} |{signs}", [(_colour(lane, marks), 0, margin + 2 + len(signs))]))
    lines += _left_out(skipped)
    if not colours:
        return "".join(f"{line}\n" for line, _ in lines)
    return _coloured(lines)


def _left_out(rows: int) -> list[_Line]:
    return [(f"… {rows:,} row{'s' * (rows != 1)} without marks", [])] if rows else []


def _colour(lane: Marks, marks: Sequence[Marks]) -> str:
    return _COLOURS[[one.name for one in marks].index(lane.name) % len(_COLOURS)]


def _lanes(marks: Sequence[Marks]) -> list[Marks]:
    """Each field's spans in as few rows as keep them apart."""
    lanes = []
    for one in marks:
        own: list[list[Span]] = []
        for span in sorted(one.spans):
            for lane in own:
                if lane[-1].end <= span.start and lane[-1].start < span.start:
                    lane.append(span)
                    break
            else:
                own.append([span])
        lanes += [Marks(one.name, lane) for lane in own]
    return lanes


def _rows(text: str, width: int) -> Iterator[_Row]:
    """Lines, cut where they are too wide. Every code point is in one row; a newline is in that of its line."""
    from rich.cells import get_character_cell_size

    begin = 0
    for line in text.removesuffix("\n").split("\n"):
        shown = _UNSEEN.sub("·", line)
        start = 0
        while True:
            if shown.isascii():
                end = min(start + width, len(shown))
                cells: Sequence[int] = range(end - start + 1)
            else:
                at, wide = [0], 0
                end = start
                while end < len(shown) and wide + (size := get_character_cell_size(shown[end])) <= width:
                    wide += size
                    at.append(wide)
                    end += 1
                cells = at
            last = end >= len(shown)
            yield _Row(begin + start, begin + end + last, shown[start:end], cells)
            start = end
            if last:
                break
        begin += len(line) + 1


def _below(rows: Sequence[_Row], lanes: Sequence[Marks]) -> dict[int, list[tuple[Marks, str, list[tuple[int, int]]]]]:
    """Rows that have marks: for each lane its signs, and the cells that they cover."""
    found: dict[int, list[tuple[Marks, str, list[tuple[int, int]]]]] = {}
    for lane in lanes:
        at = 0
        pieces: dict[int, list[tuple[int, int, str]]] = {}
        for span in lane.spans:
            while rows[at].end <= span.start and at + 1 < len(rows):
                at += 1
            row = at
            while True:
                pieces.setdefault(row, []).append(_piece(rows[row], span))
                if span.end <= rows[row].end or row + 1 == len(rows):
                    break
                row += 1
        for row, several in pieces.items():
            signs = ""
            for first, _, piece in several:
                signs = signs.ljust(first) + piece if first >= len(signs) else signs[:first] + piece
            found.setdefault(row, []).append((lane, signs, [(a, b) for a, b, _ in several]))
    return found


def _piece(row: _Row, span: Span) -> tuple[int, int, str]:
    """First cell, cell after the last, and signs of the part of a span that is in a row."""
    top = len(row.cells) - 1
    first, last = (row.cells[min(max(at - row.start, 0), top)] for at in (span.start, span.end))
    length = max(1, last - first)
    if span.start == span.end:
        return first, first + 1, "!"
    begins, ends = span.start >= row.start, span.end <= row.end
    if length == 1:
        return first, first + 1, "^" if begins and ends else "<" if begins else ">" if ends else "-"
    return first, first + length, ("<" if begins else "-") + "-" * (length - 2) + (">" if ends else "-")


def _coloured(lines: Sequence[_Line]) -> str:
    from rich.cells import set_cell_size
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", highlight=False, emoji=False)
    for line, stretches in lines:
        styled = Text(line)
        for colour, first, last in stretches:
            begin, end = (len(set_cell_size(line, cell).rstrip("\x00")) for cell in (first, last))
            styled.stylize(colour, begin, end)
        console.print(styled, soft_wrap=True)
    return out.getvalue()
