"""`gopher_v1`: the numbers behind Gopher's quality and repetition rules (MassiveText).

The rules themselves, with the paper's thresholds, are the preset `gopher` (pipelines/rules/gopher.yaml). What the
paper leaves open is decided so: words are `text.split()`; lines are those of `text.split("\\n")`, paragraphs those of
`text.split("\\n\\n")`, both stripped and without the blank ones; the first of several equal lines, paragraphs or
n-grams is not a duplicate, all later ones are; shares of characters are of the code points of all words.
Cost: ~140 MB of text per CPU-second on top of the word table, ~90 with it (one core, Xeon 2.6 GHz).
Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", section
A.1.1 and Table A1. Dolma's own numbers differ: a median word length, first copies counted, `…` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.tagging import tagger


@tagger("gopher_v1", paper="Rae et al. 2021, Scaling Language Models (Gopher), A.1.1")
@dataclass(frozen=True)
class Gopher:
    """Word, symbol, line and repetition statistics of the Gopher paper; 0 where a text is too short for one."""

    fields: ClassVar[Fields] = {
        "word_count": int,
        "mean_word_length": float,
        "median_word_length": float,
        "symbol_ratio": float,
        "bullet_line_share": float,
        "ellipsis_line_share": float,
        "alpha_word_share": float,
        "stop_word_kinds": int,
        "stop_word_count": int,
        "duplicate_line_share": float,
        "duplicate_line_chars": float,
        "duplicate_paragraph_share": float,
        "duplicate_paragraph_chars": float,
        "top_2gram_chars": float,
        "top_3gram_chars": float,
        "top_4gram_chars": float,
        "duplicate_5gram_chars": float,
        "duplicate_6gram_chars": float,
        "duplicate_7gram_chars": float,
        "duplicate_8gram_chars": float,
        "duplicate_9gram_chars": float,
        "duplicate_10gram_chars": float,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "gopher", "repetition")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, numpy int64[n] and float64[n]; what each means stands in the kernels."""
        from dolma_pipeline.kernels.gopher import quality_columns
        from dolma_pipeline.kernels.repetition import repetition_columns

        return {**quality_columns(batch.text, batch.words), **repetition_columns(batch.text, batch.words)}
