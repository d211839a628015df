"""FineWeb's filters of datatrove on documents in memory, each on what the ones before let through.

`datatrove_fineweb.py SAMPLE LID_MODEL`. Language (English, 0.65), Gopher repetition and quality, C4 without its rule on
punctuation, FineWeb's own: the order and settings of its example. The language model is loaded from the file that is
named, where datatrove would download it.
"""

from __future__ import annotations

import sys

import fasttext
import timing
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.lid import FT176LID

texts = timing.read_texts()
identifier = FT176LID(["en"])
identifier._model = fasttext.load_model(sys.argv[2])


class English:
    """What its LanguageFilter does, which cannot be made where fastText is a wheel of another name."""

    def filter(self, document: Document) -> bool:
        """Whether English is above 0.65."""
        return bool(identifier.predict(document)[1]["en"] > 0.65)


filters = [
    English(),
    GopherRepetitionFilter(),
    GopherQualityFilter(),
    C4QualityFilter(filter_no_terminal_punct=False),
    FineWebQualityFilter(),
]
for step in filters:
    step.filter(Document(text="A first call loads the word splitter. " * 20, id="warm"))
documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
kept = []


def chain() -> None:
    """Document by document, so that later filters find the words of earlier ones in datatrove's cache."""
    for document in documents:
        if all(step.filter(document) is True for step in filters):
            kept.append(document.id)


timing.report(timing.megabytes(texts), timing.cpu_seconds(chain), kept=len(kept))
