"""The dedupe kind `paragraphs`: lines or paragraphs that stand in an earlier document, or earlier in the same one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.stages.dedupe.kinds import register_kind
from dolma_pipeline.stages.dedupe.span_kinds import SpanKind, Units


class ParagraphsKind(SpanKind):
    """Equal lines or paragraphs, without the white space around them, by 128 bits of hash."""

    name = "paragraphs"
    kernels = ("sorting", "units")

    def check(self, config: DedupeStepConfig) -> None:
        """See `DedupeKind.check`."""
        if config.unit not in ("paragraph", "line"):
            raise ConfigError(f"kind paragraphs has the units paragraph and line, and `unit` is {config.unit}.")

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`unit` and `min_unit_chars`."""
        return {"unit": config.unit, "min_unit_chars": config.min_unit_chars}

    def units(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Units, NDArray[np.int64]]:
        """See `SpanKind.units`; the size of a text is that of all its units, the short ones too."""
        from dolma_pipeline.kernels.units import hashed_units

        found = hashed_units(text, by_line=config.unit == "line", min_chars=config.min_unit_chars)
        return Units(found.rows, found.starts, found.ends, found.hi, found.lo), found.chars

    def none_found(self, config: DedupeStepConfig) -> str:
        """See `SpanKind.none_found`."""
        return (
            f"no {config.unit} of any document has {config.min_unit_chars:,} characters, so nothing is marked. "
            "Take a smaller min_unit_chars" + (", or `unit: line`." if config.unit == "paragraph" else ".")
        )


register_kind(ParagraphsKind())
