"""`gopher_v1`: the numbers behind Gopher's quality and repetition rules (MassiveText).

The rules themselves are a recipe's: see RULES for them in SQL, with the paper's thresholds. What the paper leaves
open is decided so: words are `text.split()`; lines are those of `text.split("\\n")`, paragraphs those of
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

RULES: Mapping[str, str] = {
    "words": "gopher_v1.word_count BETWEEN 50 AND 100000",
    "word_length": "gopher_v1.mean_word_length BETWEEN 3 AND 10",
    "symbols": "gopher_v1.symbol_ratio <= 0.1",
    "bullets": "gopher_v1.bullet_line_share <= 0.9",
    "ellipses": "gopher_v1.ellipsis_line_share <= 0.3",
    "letters": "gopher_v1.alpha_word_share >= 0.8",
    "stop_words": "gopher_v1.stop_word_kinds >= 2",
    "duplicate_lines": "gopher_v1.duplicate_line_share <= 0.30",
    "duplicate_line_chars": "gopher_v1.duplicate_line_chars <= 0.20",
    "duplicate_paragraphs": "gopher_v1.duplicate_paragraph_share <= 0.30",
    "duplicate_paragraph_chars": "gopher_v1.duplicate_paragraph_chars <= 0.20",
    "top_2grams": "gopher_v1.top_2gram_chars <= 0.20",
    "top_3grams": "gopher_v1.top_3gram_chars <= 0.18",
    "top_4grams": "gopher_v1.top_4gram_chars <= 0.16",
    "duplicate_5grams": "gopher_v1.duplicate_5gram_chars <= 0.15",
    "duplicate_6grams": "gopher_v1.duplicate_6gram_chars <= 0.14",
    "duplicate_7grams": "gopher_v1.duplicate_7gram_chars <= 0.13",
    "duplicate_8grams": "gopher_v1.duplicate_8gram_chars <= 0.12",
    "duplicate_9grams": "gopher_v1.duplicate_9gram_chars <= 0.11",
    "duplicate_10grams": "gopher_v1.duplicate_10gram_chars <= 0.10",
}
"""The paper's rules, as a recipe's `mix.where` takes them: a document stays if all are true."""


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

    kernels: ClassVar[tuple[str, ...]] = ("words", "gopher", "repetition")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, numpy int64[n] and float64[n]; what each means stands in the kernels."""
        from dolma_pipeline.kernels.gopher import quality_columns
        from dolma_pipeline.kernels.repetition import repetition_columns

        return {**quality_columns(batch.text, batch.words), **repetition_columns(batch.text, batch.words)}
