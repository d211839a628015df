"""`c4_v1`: C4's rules, as spans of the lines that they drop, and flags and counts for the page.

The rules themselves are the preset `c4` (pipelines/rules/c4.yaml), which removes the lists of lines.
A line is a piece of `text.split("\\n")`, its span covers it and its newline. As in C4, and in Dolma's and
datatrove's versions of it, a blank line ends in no mark and has too few words, so removing them joins paragraphs;
an empty piece (after the last newline) has no span. Lines and sentences are counted without the blank ones.
Cost: ~330 MB of text per CPU-second on top of the line table, ~210 with it (one core, Xeon 2.6 GHz).
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
section 2.2. Not here: the list of bad words, and C4's removal of three-sentence spans seen before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.tagging import tagger


@tagger("c4_v1", paper="Raffel et al. 2020, Exploring the Limits of Transfer Learning (T5, C4), 2.2")
@dataclass(frozen=True)
class C4:
    """Lines that C4 drops (no end mark, few words, javascript, policies), curly brackets, lorem ipsum, sentences,
    citation marks.

    Args:
        min_words: a line with fewer words is in `lines_with_few_words`.
        end_marks: the characters that a line may end in; `...` is not an end. C4: full stop, question and
            exclamation mark, end quotation mark.
        without_citations: lines are judged by what is left of them without citation marks, as C4 does: `It is so.[1]`
            has an end. The lists hold whole lines all the same.
    """

    min_words: int = 5
    end_marks: str = ".?!\"'”’"
    without_citations: bool = False

    fields: ClassVar[Fields] = {
        "lines_without_end": list[Span],
        "lines_with_few_words": list[Span],
        "lines_with_javascript": list[Span],
        "lines_with_policy": list[Span],
        "has_curly_bracket": bool,
        "has_lorem_ipsum": bool,
        "line_count": int,
        "kept_line_count": int,
        "sentence_count": int,
        "citations": list[Span],
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "lines", "spans", "c4", "citations")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: span lists, numpy bool[n] and int64[n].

        line_count counts lines that are not blank, kept_line_count those in none of the four lists of lines,
        sentence_count the sentences of these; citations are marks such as `[1]` and `[citation needed]`.
        """
        from dolma_pipeline.kernels import c4, citations, spans

        marks = citations.find_citations(batch.text)
        cut = citations.without_citations(batch.text, batch.lines, marks) if self.without_citations else None
        found = c4.judge_lines(
            batch.text, batch.lines, batch.bitmaps, min_words=self.min_words, end_marks=self.end_marks, cut=cut
        )
        flags = {
            "lines_without_end": c4.NO_END,
            "lines_with_few_words": c4.FEW_WORDS,
            "lines_with_javascript": c4.JAVASCRIPT,
            "lines_with_policy": c4.POLICY,
        }
        return {
            **dict(zip(flags, spans.line_lists(batch.lines, found.flags, tuple(flags.values())), strict=True)),
            "has_curly_bracket": found.has_curly_bracket,
            "has_lorem_ipsum": found.has_lorem_ipsum,
            "line_count": found.line_count,
            "kept_line_count": found.kept_line_count,
            "sentence_count": found.sentence_count,
            "citations": batch.spans(marks.rows, marks.starts, marks.ends, np.ones(len(marks.rows), np.float32)),
        }
