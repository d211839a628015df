"""`dolma_gopher_v2`: the numbers of Dolma's tagger `gopher_v2`, under its names, for rules that were set on them.

Rounded to five digits, as Dolma's files have them. Where a text has fewer words than an n-gram, Dolma writes nothing,
and here stands 0. The paper's own rules are `gopher_v1`. What differs, and why: docs/dolma.md.
Cost: ~100 MB of text per CPU-second with the word and line tables, rounding included (one core, Xeon 2.6 GHz).
Source: Soldaini et al. 2024, "Dolma: an Open Corpus of Three Trillion Tokens"; allenai/dolma 1.2.1 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.tagging import tagger

DIGITS = 5
"""Dolma rounds every score to so many digits behind the point."""


@tagger("dolma_gopher_v2", paper="Soldaini et al. 2024, Dolma (its toolkit 1.2.1, tagger gopher_v2)")
@dataclass(frozen=True)
class DolmaGopher:
    """Dolma's gopher_v2: word, line and repetition statistics as its files have them; 0 where a text is too short.

    Args:
        keep_defects: also where Dolma is wrong: `fraction_of_characters_in_duplicate_lines` counts blanks above the
            line and not below it, so that it may be above 1.
    """

    keep_defects: bool = False

    fields: ClassVar[Fields] = {
        "character_count": int,
        "word_count": int,
        "median_word_length": float,
        "symbol_to_word_ratio": float,
        "fraction_of_words_with_alpha_character": float,
        "required_word_count": int,
        "fraction_of_lines_starting_with_bullet_point": float,
        "fraction_of_lines_ending_with_ellipsis": float,
        "fraction_of_duplicate_lines": float,
        "fraction_of_characters_in_duplicate_lines": float,
        "fraction_of_characters_in_most_common_2grams": float,
        "fraction_of_characters_in_most_common_3grams": float,
        "fraction_of_characters_in_most_common_4grams": float,
        "fraction_of_characters_in_duplicate_5grams": float,
        "fraction_of_characters_in_duplicate_6grams": float,
        "fraction_of_characters_in_duplicate_7grams": float,
        "fraction_of_characters_in_duplicate_8grams": float,
        "fraction_of_characters_in_duplicate_9grams": float,
        "fraction_of_characters_in_duplicate_10grams": float,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "lines", "dolma_gopher")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, int64[n], and lists of float."""
        from dolma_pipeline.kernels.dolma_gopher import dolma_gopher_columns

        columns = dolma_gopher_columns(
            batch.text, batch.words, batch.lines, chars=batch.chars, over_words=self.keep_defects
        )
        # Python rounds by the decimal digits of a number; numpy multiplies first, and is off by one now and then.
        return {
            name: [round(value, DIGITS) for value in column.tolist()] if self.fields[name] is float else column
            for name, column in columns.items()
        }
