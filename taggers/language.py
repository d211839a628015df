"""The language of a text, by fastText's identifier of 176 languages.

Cost: setup 0.1 s and 25 MB; then 10,000 to 20,000 documents a second, or 25 to 35 MB a second with
`max_chars=0`. Source: Joulin et al. 2016, "Bag of tricks" and "FastText.zip"; the model is
`lid.176.ftz` (CC BY-SA 3.0). Dolma and FineWeb keep documents with a score of English of 0.5 and 0.65.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import tagger

NO_LANGUAGE = "und"
"""`lang` of a text without any word (ISO 639-2: undetermined)."""


@tagger("language_v1", paper="Joulin et al. 2016, Bag of tricks for efficient text classification")
@dataclass
class Language:
    """The most probable language, its probability, and that of English.

    Fields: `lang`, the code that the model uses (ISO 639-1, else 639-3), `und` for a text without any word;
    `score`, its probability, 0 to 1 (a rounding above 1 is possible, as in fastText); `en`, that of English.

    Attributes:
        max_chars: code points read from the start of a text; 0 reads all.
        model: name of the asset.
    """

    max_chars: int = 2000
    model: str = "lid.176.ftz"

    fields: ClassVar[Mapping[str, Any]] = {"lang": str, "score": float, "en": float}
    kernels: ClassVar[tuple[str, ...]] = ("fasttext",)

    def __post_init__(self) -> None:
        if self.max_chars < 0:
            raise TaggerError(f"language_v1: max_chars is a number of characters, or 0 for all; got {self.max_chars}")

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the assets that `setup` reads; the launcher puts them into the run's folder."""
        return (self.model,)

    def setup(self) -> None:
        """Loads the model.

        Raises:
            UnknownNameError: `model` is not an asset.
            AssetError: it is not here, or is not a model that can be used.
        """
        from dolma_pipeline.kernels import fasttext

        self._model = fasttext.load(assets.asset(self.model))
        self._names = np.array([*self._model.labels, NO_LANGUAGE], object)  # -1 is the last

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """Columns `lang`, `score`, `en`."""
        found = self._model.predict(batch.text, max_chars=self.max_chars, labels=("en",))
        return {
            "lang": self._names[found.labels].tolist(),
            "score": found.scores.astype(np.float64),
            "en": found.wanted[:, 0].astype(np.float64),
        }
