"""How expected a text is, by a model of byte n-grams that `dolma-pipeline fit --kind ngram` has made.

Cost: 10 to 25 MB of text a second, 32 MB of memory for 1.5 million n-grams. Source: Wenzek et al. 2020, "CCNet", which
keeps documents by the perplexity that a model of Wikipedia gives them; bytes in place of its words, so that one model
serves every script and nothing is unknown (docs/decisions/0024-byte-ngrams.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import AssetError, TaggerError
from dolma_pipeline.tagging import tagger


@tagger(
    "perplexity_v1", paper="Wenzek et al. 2020, CCNet: extracting high quality monolingual datasets from web crawl data"
)
@dataclass
class Perplexity:
    """Bits per byte that a model of byte n-grams needs for a text: low where it is like what the model has learned.

    Fields: `bits_per_byte`, 0.0 of an empty text; the perplexity of a byte is 2 to its power, and between texts of
    unlike length only what is divided by length can be compared. With `paragraphs`, the spans of that name: each
    paragraph with its bits per byte as the score, in its place in the document.

    Attributes:
        model: path or URL of the model, with a "/" in it.
        paragraphs: whether paragraphs are scored, too.
    """

    model: str = ""
    paragraphs: bool = False

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "byte_ngrams", "lines", "spans")

    @property
    def fields(self) -> Mapping[str, Any]:
        """`bits_per_byte`, and `paragraphs` where they are asked for."""
        return {"bits_per_byte": float} | ({"paragraphs": list[Span]} if self.paragraphs else {})

    @property
    def assets(self) -> tuple[str, ...]:
        """The model, which travels with the run."""
        return (self.model,) if self.model else ()

    def check(self, *, max_memory: int) -> None:
        """Before a run starts: whether the model can be used, and fits a process's memory.

        Args:
            max_memory: bytes that a process may take.

        Raises:
            TaggerError: no model is named. AssetError: it is none, is damaged, or is too large.
        """
        self._check_named()
        if "://" in self.model:
            return  # it is fetched when the run starts
        from dolma_pipeline.kernels.byte_ngrams_file import memory_of, read_checked, read_header

        path = assets.asset(self.model)
        if (needed := memory_of(read_header(path))) > max_memory:
            raise AssetError(
                f"{self.model} takes {needed:,} bytes in each process; max_memory is {max_memory:,}. Raise max_memory, "
                "or make a model of fewer n-grams (fit --max-ngrams)."
            )
        read_checked(path)

    def setup(self) -> None:
        """Loads the model.

        Raises:
            TaggerError: no model is named. AssetError: it is not here, or is not a model that can be used.
        """
        from dolma_pipeline.kernels import byte_ngrams_file

        self._check_named()
        self._model = byte_ngrams_file.load(assets.asset(self.model))

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """Column `bits_per_byte`, and spans."""
        paragraphs = batch.paragraphs
        found = self._model.bits(batch.text, paragraphs)
        columns: dict[str, Any] = {"bits_per_byte": found.texts / np.maximum(np.diff(batch.text.offsets), 1)}
        if self.paragraphs:
            rows = np.repeat(np.arange(len(batch)), np.diff(paragraphs.rows))
            scores = found.stretches / np.maximum(paragraphs.ends - paragraphs.starts, 1)
            columns["paragraphs"] = batch.spans(rows, paragraphs.starts, paragraphs.ends, scores)
        return columns

    def _check_named(self) -> None:
        if "/" not in self.model:
            said = f"'{self.model}' is not one" if self.model else "none is given"
            raise TaggerError(
                f"perplexity_v1 needs the path of a model, with a '/' in it, such as model: ./web.ngrams, and {said}; "
                "`dolma-pipeline fit --kind ngram` makes one."
            )
