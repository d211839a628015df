"""Reads an expression word by word: what JSONPath and jq have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from dolma_pipeline.migrate.sql import Literal, Untranslatable

_WORD = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'[^']*')
    | (?P<sign>\$@|\[\?\(|&&|\|\||==|!=|<=|>=|[$@.\[\]()<>!?|])
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    )""",
    re.VERBOSE,
)
CONSTANTS: dict[str, Literal] = {"true": True, "false": False, "null": None}


class Reader:
    """The words of an expression, from left to right.

    Args:
        text: the expression.

    Raises:
        Untranslatable: a character that no word begins with.
    """

    def __init__(self, text: str) -> None:
        self.words: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _WORD.match(text, at)
            if match is None:
                raise Untranslatable(f"found {text[at:].strip()!r}")
            self.words.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()
        self.at = 0

    def next_is(self, *words: str) -> bool:
        """Whether these words, signs or names, follow."""
        coming = self.words[self.at : self.at + len(words)]
        return [word for _, word in coming] == [*words] and all(kind in ("sign", "name") for kind, _ in coming)

    def take(self, *words: str) -> bool:
        """Go past these words, if they follow."""
        if not self.next_is(*words):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Go past these words; anything else is an error."""
        if not self.take(*words):
            raise self.unknown(f"expected '{''.join(words)}'")

    def kind(self) -> str:
        """Of the next word; "" at the end."""
        return self.words[self.at][0] if self.at < len(self.words) else ""

    def word(self) -> str:
        """The next word."""
        if self.at == len(self.words):
            raise self.unknown("more was expected")
        self.at += 1
        return self.words[self.at - 1][1]

    def sign(self, known: Collection[str]) -> str | None:
        """The next word if it is one of these signs."""
        if self.kind() == "sign" and self.words[self.at][1] in known:
            return self.word()
        return None

    def literal(self) -> Literal:
        """A number, a text, true, false or null."""
        kind = self.kind()
        if kind == "number":
            word = self.word()
            return float(word) if re.search("[.eE]", word) else int(word)
        if kind == "text":
            word = self.word()
            return str(json.loads(word)) if word[0] == '"' else word[1:-1]
        if kind == "name" and self.words[self.at][1] in CONSTANTS:
            return CONSTANTS[self.word()]
        raise self.unknown("expected a number or a text")

    def in_brackets(self) -> str | int:
        """A key or a position, and the bracket behind it."""
        part = self.literal()
        if isinstance(part, bool) or not isinstance(part, str | int) or (isinstance(part, int) and part < 0):
            raise Untranslatable(f"[{part}] is neither a key nor a position")
        self.expect("]")
        return part

    def end(self) -> None:
        """Nothing may follow."""
        if self.at < len(self.words):
            raise self.unknown("expected its end")

    def unknown(self, expected: str) -> Untranslatable:
        """An error that says where."""
        rest = "".join(word for _, word in self.words[self.at :])
        return Untranslatable(f"{expected}, found {rest!r}" if rest else f"{expected}, found its end")
