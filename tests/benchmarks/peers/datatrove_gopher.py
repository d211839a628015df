"""datatrove's GopherQualityFilter and GopherRepetitionFilter, each on all documents; the sum of their times.

As in its own pipelines both see the same `Document`; its cache of split words is on.
"""

from __future__ import annotations

import timing
from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

texts = timing.read_texts()
documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()
for step in (quality, repetition):
    step.filter(Document(text="A first call loads the word splitter. " * 20, id="warm"))


def both() -> None:
    """The two filters document by document, so that the second finds the first one's words in the cache."""
    for document in documents:
        quality.filter(document)
        repetition.filter(document)


timing.report(timing.megabytes(texts), timing.cpu_seconds(both))
