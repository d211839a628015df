"""`fineweb_v1`: the numbers behind the rules that FineWeb adds to those of Gopher and C4.

The rules themselves are the preset `fineweb` (pipelines/rules/fineweb.yaml). Lines are those of `text.split("\\n")`
that are not blank; words are `text.split()`. datatrove's filter, which FineWeb was made with, differs in two things:
it counts words with punctuation split off (so it sees more of them), and white space behind a line's last character
hides that character from it.
Cost: ~300 MB of text per CPU-second on top of the word and line tables.
Source: Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", section 3.6;
marks that end a sentence are those of Unicode's property Sentence_Terminal, and quotation marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.tagging import tagger


@tagger("fineweb_v1", paper="Penedo et al. 2024, The FineWeb Datasets, 3.6")
@dataclass(frozen=True)
class FineWeb:
    """Share of lines that end in a mark, of short lines, of characters in repeated lines; newlines to words.

    Args:
        short_line_chars: a line of at most so many characters is short.
    """

    short_line_chars: int = 30

    fields: ClassVar[Fields] = {
        "end_mark_line_share": float,
        "short_line_share": float,
        "duplicate_line_chars": float,
        "newlines_per_word": float,
    }

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "lines", "fineweb")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, float64[n]; what each means stands in the kernel."""
        from dolma_pipeline.kernels.fineweb import fineweb_columns

        return fineweb_columns(batch.text, batch.words, batch.lines, short_line_chars=self.short_line_chars)
