"""Made-up documents on which the speed of taggers is measured: the same on every machine, nothing downloaded.

Words are syllables in rows, as often as their rank allows (Zipf); among them are capitals, numbers, lists, lines that
repeat, e-mail addresses, URLs, some code and some letters that are not ASCII, about as often as in pages of the web.
Cost: ~0.15 s for a megabyte.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_STARTS = ("b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "ch", "é", "ö")
_CORES = ("a", "e", "i", "o", "u", "ea", "ou", "ie")
_ENDS = ("", "", "n", "r", "s", "t", "l", "nd", "st", "ng")
_COMMON = ("the", "of", "and", "to", "a", "in", "that", "is", "with", "for", "it", "have", "be", "on", "as", "at")
_NUM_WORDS = 20_000
_EXTRAS = (
    "Write to {word}.{other}@example.com or call +1 212 555 0{number}.",
    "See https://www.{word}.example/{other}?id={number} for more.",
    "- {word} {other} {number}",
    "def {word}(x):\n    return {{'{other}': x + {number}}}",
    "Share this page…",
    "The server 192.0.2.{number} was restarted [1].",
)


def sample_texts(*, num_bytes: int, seed: int = 0) -> list[str]:
    """Texts of 500 to 10,000 bytes or so, together at least `num_bytes` long in UTF-8."""
    texts, size = [], 0
    made = _texts(random.Random(seed))
    while size < num_bytes:
        texts.append(next(made))
        size += len(texts[-1].encode())
    return texts


def _texts(chance: random.Random) -> Iterator[str]:
    words = [*_COMMON, *(_word(chance) for _ in range(_NUM_WORDS))]
    ranks = [1 / (rank + 3) for rank in range(len(words))]
    bounds = [sum(ranks[:1])]
    for rank in ranks[1:]:
        bounds.append(bounds[-1] + rank)
    while True:
        paragraphs = []
        for _ in range(chance.randint(2, 25)):
            sentences = []
            for _ in range(chance.randint(1, 6)):
                chosen = chance.choices(words, cum_weights=bounds, k=chance.randint(4, 24))
                sentences.append(" ".join(chosen).capitalize() + chance.choice((".", ".", ".", "?", "!", "")))
            if chance.random() < 0.1:
                word, other = chance.sample(words[: 2 * len(_COMMON)], 2)
                sentences.append(chance.choice(_EXTRAS).format(word=word, other=other, number=chance.randint(100, 254)))
            paragraphs.append(" ".join(sentences))
        yield chance.choice(("\n", "\n\n")).join(paragraphs)


def _word(chance: random.Random) -> str:
    syllables = range(chance.choice((1, 1, 2, 2, 2, 3, 4)))
    return "".join(chance.choice(_STARTS) + chance.choice(_CORES) + chance.choice(_ENDS) for _ in syllables)
