"""Made-up evaluation items, pages, and the forms in which an item may stand in a page; the same each time."""

from __future__ import annotations

import random
from collections.abc import Callable

_SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "ol", "ist")]


class Words:
    """Draws words of a made-up language, the frequent ones often."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        vocabulary = random.Random(7)
        self.known = ["".join(vocabulary.choices(_SYLLABLES, k=vocabulary.randint(1, 4))) for _ in range(3000)]
        self.weights = [1 / (rank + 3) for rank in range(len(self.known))]

    def some(self, count: int) -> list[str]:
        return self.random.choices(self.known, self.weights, k=count)

    def sentence(self, count: int, *, end: str = ".") -> str:
        words = self.some(count)
        for at in range(6, count - 1, 9):
            words[at] += ","
        return " ".join(words).capitalize() + end

    def page(self) -> str:
        """Some paragraphs."""
        paragraphs = [
            " ".join(self.sentence(self.random.randint(6, 18)) for _ in range(self.random.randint(2, 6)))
            for _ in range(self.random.randint(2, 7))
        ]
        return "\n\n".join(paragraphs)


def _inside(page: str, item: str, draw: random.Random) -> str:
    words = page.split(" ")
    at = draw.randrange(len(words))
    return " ".join([*words[:at], item, *words[at:]])


def own_paragraph(page: str, item: str, draw: random.Random) -> str:
    paragraphs = page.split("\n\n")
    paragraphs.insert(draw.randrange(len(paragraphs) + 1), item)
    return "\n\n".join(paragraphs)


def rewrapped(page: str, item: str, draw: random.Random) -> str:
    words = "".join(c if c.isalnum() or c.isspace() else " " for c in item.upper()).split()
    lines = [" ".join(words[at : at + 5]) for at in range(0, len(words), 5)]
    return own_paragraph(page, "\n".join(lines), draw)


def embedded(page: str, item: str, draw: random.Random) -> str:
    return _inside(page, f'as they asked ("{item.lower()}"), which nobody knew', draw)


FORMS: dict[str, Callable[[str, str, random.Random], str]] = {
    "verbatim": _inside,
    "own paragraph": own_paragraph,
    "re-wrapped and re-cased": rewrapped,
    "embedded": embedded,
    "shorter than 13 words": _inside,
}
"""Form -> a page with the item in it."""


def planted(number: int, seed: int = 5) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Items, form -> pages, and clean pages: item i * number + j stands in page j of form i."""
    words = Words(seed)
    items: list[str] = []
    pages: dict[str, list[str]] = {}
    for form, put in FORMS.items():
        short = form == "shorter than 13 words"
        own = [words.sentence(words.random.randint(*((5, 12) if short else (13, 40))), end="?") for _ in range(number)]
        items += own
        pages[form] = [put(words.page(), item, words.random) for item in own]
    return items, pages, [words.page() for _ in range(600)]
