"""`repetition_v1`: stretches that say one thing over and over, in characters and in words.

A run is a longest stretch in which a unit is repeated; its span ends where the repetition does, in the middle of a
unit if need be, and its score is the number of whole units. Character runs repeat up to `max_unit_bytes` bytes of
UTF-8, whatever the script (`----`, `hahaha`, `好好好`); a unit of white space alone is no run, so indentation is none.
Word runs repeat up to `max_unit_words` words (`text.split()`), whatever white space stands between them.
OLMo's training leaves out sequences with 32 repetitions or more of 1 to 13 tokens. Here words stand for tokens: the
rule needs no tokenizer, and means the same whichever one is trained later; where a script sets no blanks, the runs of
characters say it. Dolma's taggers `tokenizer_repetitions` begin at 3 repetitions, and so do word runs here.
Cost: 370 to 570 MB of text per CPU-second on top of the word table (one core, Xeon 2.6 GHz).
Source: OLMo et al. 2024, "2 OLMo 2 Furious", section 3 (repeated n-grams); Soldaini et al. 2024, "Dolma".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import tagger

if TYPE_CHECKING:
    from dolma_pipeline.kernels.periodic import PeriodicRuns

RULES: Mapping[str, str] = {
    "repeated_words": "repetition_v1.max_word_repeats < 32",
}
"""OLMo 2's rule, over words, as a recipe's `mix.where` takes it: a document stays if it is true."""


@tagger("repetition_v1", paper="OLMo et al. 2024, 2 OLMo 2 Furious; Soldaini et al. 2024, Dolma")
@dataclass(frozen=True)
class Repetition:
    """Runs that repeat a unit of characters or words: their spans, the most repeats, the longest, and their share.

    Args:
        max_unit_bytes: bytes of UTF-8 of the longest unit of a character run.
        min_char_repeats: units of the shortest character run, at least 2.
        max_unit_words: words of the longest unit of a word run.
        min_word_repeats: units of the shortest word run, at least 2.

    Raises:
        TaggerError: a unit of no length, or fewer than 2 repeats.
    """

    max_unit_bytes: int = 64
    min_char_repeats: int = 16
    max_unit_words: int = 13
    min_word_repeats: int = 3

    fields: ClassVar[Fields] = {
        "char_runs": list[Span],
        "word_runs": list[Span],
        "max_char_repeats": int,
        "max_word_repeats": int,
        "longest_char_run": int,
        "longest_word_run": int,
        "char_run_share": float,
        "word_run_share": float,
        "run_share": float,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "spans", "periodic")

    def __post_init__(self) -> None:
        for name, least in (
            ("max_unit_bytes", 1),
            ("min_char_repeats", 2),
            ("max_unit_words", 1),
            ("min_word_repeats", 2),
        ):
            if getattr(self, name) < least:
                raise TaggerError(f"repetition_v1: {name} is at least {least}; got {getattr(self, name)}")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: span lists with the number of repeats as score, int64[n] and float64[n].

        `longest_…` are code points of the longest run, `…_share` code points in runs (`run_share`: of either kind) of
        all code points; 0 where there is no run.
        """
        from dolma_pipeline.kernels import periodic
        from dolma_pipeline.kernels.spans import covered_chars

        runs = {
            "char": periodic.character_runs(
                batch.text, max_bytes=self.max_unit_bytes, min_repeats=self.min_char_repeats
            ),
            "word": periodic.word_runs(batch.words, max_words=self.max_unit_words, min_repeats=self.min_word_repeats),
        }
        columns: dict[str, Any] = {}
        chars = np.maximum(batch.chars, 1)
        for kind, found in runs.items():
            spans = batch.spans(found.rows, found.starts, found.ends, found.repeats.astype(np.float64))
            columns[f"{kind}_runs"] = spans
            columns[f"max_{kind}_repeats"] = _most(found, found.repeats, len(batch))
            columns[f"longest_{kind}_run"] = _most(found, _lengths(spans), len(batch))
            columns[f"{kind}_run_share"] = covered_chars(spans) / chars
        return {**columns, "run_share": covered_chars(columns["char_runs"], columns["word_runs"]) / chars}


def _lengths(spans: pa.ListArray) -> NDArray[np.int64]:
    """Code points of each span."""
    first, last, _ = (part.to_numpy(zero_copy_only=False).astype(np.int64) for part in spans.flatten().flatten())
    return np.asarray(last - first)


def _most(runs: PeriodicRuns, values: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
    """The greatest value among the runs of each document, 0 where it has none."""
    most = np.zeros(num_rows, np.int64)
    np.maximum.at(most, runs.rows, values)
    return most
