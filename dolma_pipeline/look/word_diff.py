"""Two texts, word by word: what both have, what only one has; long stretches of equal words are left out.

Plain marks are those of `git diff --word-diff`: [-gone-] and {+added+}. Cost: that of difflib, which is a second or so
for texts of ten thousand words that differ everywhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

CONTEXT_WORDS = 8
"""Equal words that are shown on either side of a change."""
_WORDS = re.compile(r"\s*\S+|\s+\Z")


class Piece(NamedTuple):
    """A stretch of words. kind: `same`, `gone` (only the first text has it), `added` (only the second), `left out`."""

    kind: Literal["same", "gone", "added", "left out"]
    text: str


def word_diff(before: str, after: str, *, full: bool = False) -> list[Piece]:
    """The words of two texts, in order.

    Args:
        before, after: texts. full: all equal words are given; else `CONTEXT_WORDS` around a change, none where the
            texts are equal, and of what is left out how many words.
    """
    one, other = _WORDS.findall(before), _WORDS.findall(after)
    pieces: list[Piece] = []
    codes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    for number, (tag, a, a_end, b, b_end) in enumerate(codes):
        if tag == "equal":
            pieces += _same(one[a:a_end], first=number == 0, last=number == len(codes) - 1, full=full)
            continue
        pieces += [Piece("gone", "".join(one[a:a_end]))] if a_end > a else []
        pieces += [Piece("added", "".join(other[b:b_end]))] if b_end > b else []
    return pieces


def _same(words: Sequence[str], *, first: bool, last: bool, full: bool) -> Iterator[Piece]:
    before, after = (0 if first else CONTEXT_WORDS), (0 if last else CONTEXT_WORDS)
    if full or len(words) <= before + after:
        yield Piece("same", "".join(words))
        return
    if before:
        yield Piece("same", "".join(words[:before]))
    yield Piece("left out", f"{len(words) - before - after:,} equal words")
    if after:
        yield Piece("same", "".join(words[-after:]))


def plain(pieces: Sequence[Piece]) -> str:
    """With marks, for files and pipes."""
    marks = {"same": "{}", "gone": "[-{}-]", "added": "{{+{}+}}", "left out": " …({})… "}
    return "".join(marks[piece.kind].format(piece.text) for piece in pieces).strip("\n")


def coloured(pieces: Sequence[Piece]) -> str:
    """The same with colours besides, for terminals."""
    from rich.console import Console
    from rich.text import Text

    styles = {"same": "", "gone": "red strike", "added": "green bold", "left out": "dim"}
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", highlight=False, emoji=False)
    console.print(Text.assemble(*((plain([one]), styles[one.kind]) for one in pieces)), soft_wrap=True, end="")
    return out.getvalue()
