"""`colours_v1`: names of colours in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import dolma_pipeline as dp


@dp.tagger("colours_v1", paper="an example")
@dataclass
class Colours:
    """Names of colours, and how many there are for each hundred words."""

    any_case: bool = True
    fields = {"names": list[dp.Span], "per_hundred": float}

    def setup(self) -> None:
        """Reads the list; once in each process."""
        words = files("word_colours").joinpath("colours.txt").read_text().split()
        pattern = rf"\b(?:{'|'.join(words)})\b"
        self._pattern = re.compile(pattern, re.IGNORECASE if self.any_case else 0)

    def tag(self, batch: dp.Batch) -> Mapping[str, object]:
        """The columns of `fields`, lists as long as the batch."""
        spans = [[dp.Span(*match.span()) for match in self._pattern.finditer(text)] for text in batch.strings]
        counts = zip(spans, batch.strings, strict=True)
        return {"names": spans, "per_hundred": [100 * len(own) / max(1, len(text.split())) for own, text in counts]}
