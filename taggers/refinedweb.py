"""`refinedweb_v1`: RefinedWeb's corrections line by line, as spans to cut out, and how many words they would take.

Which rules follow is the preset `dclm_heuristics` (pipelines/rules/dclm_heuristics.yaml). Lines are those of
`text.split("\\n")` that are not blank; a span of a line covers it and its newline. Phrases are looked for in lines of
at most ten words: `sign-in` at the start, `items in cart`, `read more...` at the end, in any case of their letters.
Cost: ~250 MB of text per CPU-second on top of the word and line tables.
Source: Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM", appendix G.2; numbers as in the pipeline of Li et
al. 2024, "DataComp-LM".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.tagging import tagger


@tagger("refinedweb_v1", paper="Penedo et al. 2023, The RefinedWeb Dataset for Falcon LLM, G.2")
@dataclass(frozen=True)
class RefinedWeb:
    """Lines of capitals, of digits, of counters (`3 likes`) and of one word; phrases of menus; the words in these."""

    fields: ClassVar[Fields] = {
        "lines_of_capitals": list[Span],
        "lines_of_digits": list[Span],
        "counter_lines": list[Span],
        "lines_of_one_word": list[Span],
        "menu_phrases": list[Span],
        "removed_word_share": float,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "lines", "spans", "refinedweb")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: span lists and float64[n]; removed_word_share is of all words, 0.0 of none."""
        from dolma_pipeline.kernels import refinedweb

        found = refinedweb.flag_lines(batch.text, batch.words, batch.lines)
        lines = batch.lines
        rows = np.repeat(np.arange(len(batch)), np.diff(lines.rows))
        stops = np.minimum(lines.ends + 1, np.repeat(batch.text.offsets[1:], np.diff(lines.rows)))
        columns: dict[str, Any] = {}
        for name, bit in (
            ("lines_of_capitals", refinedweb.CAPITALS),
            ("lines_of_digits", refinedweb.NUMBERS),
            ("counter_lines", refinedweb.COUNTER),
            ("lines_of_one_word", refinedweb.ONE_WORD),
        ):
            at = np.flatnonzero(found.flags & bit)
            columns[name] = batch.spans(rows[at], lines.starts[at], stops[at], np.ones(len(at), np.float32))
        at, kind = np.nonzero(found.phrases.T >= 0)
        starts = found.phrases.T[at, kind]
        ends = starts + np.array([len(phrase) for phrase in refinedweb.PHRASES])[kind]
        columns["menu_phrases"] = batch.spans(rows[at], starts, ends, np.ones(len(at), np.float32))
        num_words = np.diff(batch.words.rows)
        columns["removed_word_share"] = found.removed_words / np.maximum(num_words, 1)
        return columns
