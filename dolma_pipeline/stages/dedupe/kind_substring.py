"""The dedupe kind `substring`: runs of words that stand in an earlier document too, or earlier in the same one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.stages.dedupe.kinds import register_kind
from dolma_pipeline.stages.dedupe.span_kinds import AnchoredKind, Anchors, Units

FEWEST_WORDS = 10
"""Shorter runs are how people say things, and one in four words would be an anchor."""


class SubstringKind(AnchoredKind):
    """Equal runs of at least `words` folded words, by 64 bits of hash; see `kernels.runs`."""

    name = "substring"
    measure = "words"
    wide = False
    kernels = ("sorting", "folded", "runs")

    def check(self, config: DedupeStepConfig) -> None:
        """Runs must be long enough to mean something."""
        if config.words < FEWEST_WORDS:
            raise UsageError(
                f"words: found {config.words}, expected at least {FEWEST_WORDS}. Shorter runs of words are common "
                "speech, not copies, and nearly every text has some; 50 is usual."
            )

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`words`."""
        return {"words": config.words}

    def words(self, config: DedupeStepConfig) -> int:
        """`words`."""
        return config.words

    def anchors(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Anchors, NDArray[np.int64]]:
        """See `AnchoredKind.anchors`; the size of a text is its number of folded words."""
        from dolma_pipeline.kernels.runs import anchors

        found = anchors(text, words=config.words)
        return Anchors(found.rows, found.words, found.keys), found.num_words.astype(np.int64)

    def units_around(
        self, text: TextBuffers, config: DedupeStepConfig, rows: NDArray[np.int32], words: NDArray[np.int32]
    ) -> Units:
        """See `AnchoredKind.units_around`."""
        from dolma_pipeline.kernels.runs import runs_around

        found = runs_around(text, rows, words, words=config.words)
        return Units(found.rows, found.starts, found.ends, found.keys, words=found.words)

    def none_found(self, config: DedupeStepConfig) -> str:
        """See `SpanKind.none_found`."""
        return f"no document has {config.words:,} words, so nothing is marked. Take fewer words."


register_kind(SubstringKind())
