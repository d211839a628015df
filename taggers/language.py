"""The language of a text, by fastText's identifier of 176 languages or another model like it.

Cost: setup 0.1 s and 15 MB; then 20,000 to 40,000 documents a second. Source: Joulin et al. 2016, "Bag of tricks" and
"FastText.zip"; the model is `lid.176.ftz` (CC BY-SA 3.0). Dolma and FineWeb keep documents with a score of English of
0.5 and 0.65.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import tagger
from taggers.fasttext import check_labels, check_model, field_names, mean_by_length, most_chars

NO_LANGUAGE = "und"
"""`lang` of a text in no language (ISO 639-2: undetermined)."""

LITTLE_TEXT, SOME_TEXT, UNSURE = 0.45, 0.7, 0.6
"""A text has no language where less than `LITTLE_TEXT` of its characters stand in words (`kernels.wordlike`), or less
than `SOME_TEXT` and the model gives its language less than `UNSURE`. Set on 50 texts of code, numbers, addresses and
signs, of which it finds 46, and 2,465 texts in 35 languages, of which it loses 4, all of them code or commands."""
MIN_HAN = 10
"""From so many Chinese characters on, a text without one Japanese letter is not Japanese."""


class Found(NamedTuple):
    """Of n texts: index of the language, -1 for none (int32[n]); its probability; those of `languages` (float64)."""

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    wanted: NDArray[np.float64]


@tagger("language_v1", paper="Joulin et al. 2016, Bag of tricks for efficient text classification")
@dataclass
class Language:
    """The most probable language, its probability, and those of languages that you name.

    Fields: `lang`, the code that the model uses (ISO 639-1, else 639-3), `und` for a text in no language: without
    words, or of code, numbers, addresses and signs for the most part; `score`, its probability, 0 to 1 (a rounding
    above 1 is possible, as in fastText), 0.0 for `und`; and a field for each of `languages`, such as `en`: the model's
    probability of it, whatever `lang` is.
    With `unit: paragraph` or `line` each is looked at by itself: `lang` is that of most characters, `score` the mean
    over the pieces in it, a language's field its mean over all pieces that have a language, by their length; `mixed`
    is the share of characters, of those that have a language, in another one than `lang`; `other` are these pieces,
    with the probability of their language.

    Attributes:
        max_chars: code points read from the start of a text (or piece); 0 reads all.
        model: name of the asset, or path of a file, with a "/" in it.
        languages: labels of the model that become fields.
        unit: what is looked at by itself: `document`, `paragraph` or `line`.
    """

    max_chars: int = 2000
    model: str = "lid.176.ftz"
    languages: tuple[str, ...] = ("en",)
    unit: Literal["document", "paragraph", "line"] = "document"

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "fasttext", "wordlike", "lines", "spans")

    def __post_init__(self) -> None:
        if self.max_chars < 0:
            raise TaggerError(f"language_v1: max_chars is a number of characters, or 0 for all; got {self.max_chars}")
        self._fields = field_names("language_v1", self.languages, reserved=("lang", "score", "mixed", "other"))

    @property
    def fields(self) -> Mapping[str, Any]:
        """`lang`, `score`, one for each of `languages`; `mixed` and `other` where pieces are looked at."""
        fields: dict[str, Any] = {"lang": str, "score": float, **dict.fromkeys(self._fields, float)}
        return fields if self.unit == "document" else {**fields, "mixed": float, "other": list[Span]}

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the assets that `setup` reads; the launcher puts them into the run's folder."""
        return (self.model,)

    def check(self, *, max_memory: int) -> None:
        """Before a run starts: whether a model of the user's can be used; see `check_model`."""
        check_model("language_v1", self.model, self.languages, max_memory=max_memory)

    def setup(self) -> None:
        """Loads the model.

        Raises:
            UnknownNameError: `model` is not an asset.
            AssetError: it is not here, or is not a model that can be used.
            TaggerError: it does not know one of `languages`.
        """
        from dolma_pipeline.kernels import fasttext

        self._model = fasttext.load(assets.asset(self.model))
        check_labels("language_v1", self.model, self.languages, self._model.labels)
        self._names = np.array([*self._model.labels, NO_LANGUAGE], object)  # -1 is the last
        places = {name: i for i, name in enumerate(self._model.labels)}
        self._zh, self._ja = places.get("zh", -1), places.get("ja", -1)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """Columns `lang`, `score`, those of languages, `mixed`, `other`."""
        if self.unit == "document":
            found = self._found(batch, None)
            columns = {name: found.wanted[:, i] for i, name in enumerate(self._fields)}
            return {"lang": self._names[found.labels].tolist(), "score": found.scores, **columns}
        pieces = batch.paragraphs if self.unit == "paragraph" else batch.lines
        found = self._found(batch, (pieces.starts, pieces.ends))
        rows = np.repeat(np.arange(len(batch)), np.diff(pieces.rows))
        chars = np.where(found.labels >= 0, pieces.chars, 0).astype(np.float64)
        lang, score = most_chars(rows, found.labels, found.scores, chars, len(batch))
        is_other = (chars > 0) & (found.labels != lang[rows])
        at = np.flatnonzero(is_other)
        columns = {
            name: mean_by_length(rows, found.wanted[:, i], chars, len(batch)) for i, name in enumerate(self._fields)
        }
        return {
            "lang": self._names[lang].tolist(),
            "score": score,
            **columns,
            "mixed": mean_by_length(rows, is_other.astype(np.float64), chars, len(batch)),
            "other": batch.spans(rows[at], pieces.starts[at], pieces.ends[at], found.scores[at]),
        }

    def _found(self, batch: Batch, pieces: tuple[NDArray[np.int32], NDArray[np.int32]] | None) -> Found:
        """What the model says of texts or pieces, and what the characters say to it."""
        from dolma_pipeline.kernels.wordlike import wordlike

        said = self._model.predict(batch.text, labels=("zh", *self.languages), max_chars=self.max_chars, pieces=pieces)
        counts = wordlike(batch.text, max_chars=self.max_chars, pieces=pieces)
        labels, scores = said.labels.copy(), said.scores.astype(np.float64)
        if self._zh >= 0 and self._ja >= 0:
            is_chinese = (labels == self._ja) & (counts.kana == 0) & (counts.han >= MIN_HAN)
            labels[is_chinese], scores[is_chinese] = self._zh, said.wanted[is_chinese, 0]
        share = counts.in_words / np.maximum(counts.chars, 1)
        has_none = (share < LITTLE_TEXT) | ((share < SOME_TEXT) & (said.scores < UNSURE))
        labels[has_none], scores[has_none] = -1, 0.0
        return Found(labels, scores, said.wanted[:, 1:].astype(np.float64))
