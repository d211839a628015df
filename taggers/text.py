"""`text_v1`: what a text is written with: shares of letters, digits, signs, URLs, broken characters and scripts.

Every share but those of scripts is one of all code points; `script_…` are shares of the letters (`str.isalpha`), so
they sum to 1 where there is one. What a character is follows the Unicode version of the running Python.
Cost: 470 to 710 MB of text per CPU-second (one core, Xeon 2.6 GHz).
Source: shares like these are in the filters of ROOTS (Laurençon et al. 2022: special characters), of NeMo Curator
(non-alphanumeric characters <= 0.25, digits <= 0.15, URLs <= 0.2, white space <= 0.25) and of RedPajama v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.kernels.kinds import SCRIPTS, SHAPES
from dolma_pipeline.tagging import tagger


@tagger("text_v1", paper="Laurençon et al. 2022, ROOTS; NeMo Curator; RedPajama v2")
@dataclass(frozen=True)
class Text:
    """Shares of letters, upper case, digits, punctuation, symbols, white space, URLs, broken characters and scripts."""

    fields: ClassVar[Fields] = {
        **{f"{kind}_share": float for kind in SHAPES},
        "url_share": float,
        "mojibake_share": float,
        **{f"script_{script}": float for script in SCRIPTS},
    }

    kernels: ClassVar[tuple[str, ...]] = ("characters",)

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, float64[n]."""
        from dolma_pipeline.kernels.characters import count_url_characters

        counts, mojibake = batch.kinds
        chars, letters = np.maximum(batch.chars, 1), np.maximum(counts[:, 0], 1)
        return {
            **{f"{kind}_share": counts[:, i] / chars for i, kind in enumerate(SHAPES)},
            "url_share": count_url_characters(batch.text) / chars,
            "mojibake_share": mojibake / chars,
            **{f"script_{script}": counts[:, len(SHAPES) + i] / letters for i, script in enumerate(SCRIPTS)},
        }
