"""`length_v1`: how long a document is, in four units.

Cost: nothing but the word and line tables, which other taggers share.
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
    """Code points, UTF-8 bytes, words (`text.split()`) and lines (`text.split("\\n")`: an empty text has one)."""

    fields: ClassVar[Fields] = {"chars": int, "bytes": int, "words": int, "lines": int}

    kernels: ClassVar[tuple[str, ...]] = ("words", "lines")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, int64[n]."""
        num_bytes = np.diff(batch.text.offsets.astype(np.int64))
        num_lines = np.diff(batch.lines.rows)  # before `chars`, which then takes it from the lines
        return {
            "chars": batch.chars,
            "bytes": num_bytes,
            "words": np.diff(batch.words.rows),
            "lines": num_lines,
        }
