"""`length_v1`: how long a document is, in six units.

A sentence is counted by the same plain rule in every script: `dolma_pipeline.kernels.sentences`.
Cost: the word table, which other taggers share, and ~10 ns a word for paragraphs and sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.tagging import tagger


@tagger("length_v1")
@dataclass(frozen=True)
class Length:
    """Code points, UTF-8 bytes, words (`text.split()`), lines (`text.split("\\n")`: an empty text has one),
    paragraphs (`text.split("\\n\\n")`, without blank ones) and sentences.
    """

    fields: ClassVar[Fields] = {
        "chars": int,
        "bytes": int,
        "words": int,
        "lines": int,
        "paragraphs": int,
        "sentences": int,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "sentences")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, int64[n]."""
        from dolma_pipeline.kernels.sentences import count_paragraphs_and_sentences

        num_bytes = np.diff(batch.text.offsets.astype(np.int64))
        paragraphs, sentences = count_paragraphs_and_sentences(batch.text, batch.bitmaps)
        return {
            "chars": batch.chars,
            "bytes": num_bytes,
            "words": np.diff(batch.words.rows),
            "lines": batch.num_lines,
            "paragraphs": paragraphs,
            "sentences": sentences,
        }
