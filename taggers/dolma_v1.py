"""`dolma_v1`: any tagger of Dolma's toolkit, where the package `dolma` can be imported.

A class with `predict(doc) -> DocResult` is found by the name under which Dolma registers it, or as `module:Class`. Each
type of span that it gives is a field; as a recipe has to know them before work starts, they are named in `types`.
Scores are rounded to five digits, as in Dolma's files. Cost: that of the tagger, a document at a time.
Source: allenai/dolma 1.2.1 (Apache-2.0), whose protocol is `Document(source, id, text)`, `Span(start, end, type, score)`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from dolma_pipeline.documents import Batch, Document, Fields, Span
from dolma_pipeline.errors import TaggerError, unknown_name
from dolma_pipeline.tagging import tagger
from taggers.dolma_gopher import DIGITS

EXAMPLE = "{tagger: dolma_v1, dolma_class: gopher_v1, types: [word_count, required_word_count]}"


@tagger("dolma_v1", paper="Soldaini et al. 2024, Dolma: an Open Corpus of Three Trillion Tokens (its toolkit)")
@dataclass
class DolmaTagger:
    """A tagger of Dolma's own, run as it is: `dolma_class` names it, `types` the types of spans that it gives.

    Args:
        dolma_class: a name in Dolma's registry, such as `cld2_en_doc_v2`, or `module:Class`; `predict` is called with a
            document that has `source`, `version`, `id`, `text` and `metadata`.
        types: the types of its spans, each a field; a letter that a field cannot have becomes `_`. A document with a
            type that is not named fails, so that none is lost; so does one with a span outside its text.
    """

    dolma_class: str = ""
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.dolma_class or not self.types:
            missing = " and ".join(name for name in ("dolma_class", "types") if not getattr(self, name))
            raise TaggerError(f"dolma_v1 needs {missing}, as in {EXAMPLE}")
        self._field_of = {name: field_name(name) for name in self.types}
        if len({field.lower() for field in self._field_of.values()}) < len(self.types):
            raise TaggerError(f"dolma_v1: two of the types {', '.join(self.types)} make the same field")

    @property
    def fields(self) -> Fields:
        """A field of spans for each type."""
        return dict.fromkeys(self._field_of.values(), list[Span])

    def setup(self) -> None:
        """Makes Dolma's tagger.

        Raises:
            TaggerError: dolma, or what the tagger needs, is not installed; or there is no such tagger.
        """
        self._tagger = find_class(self.dolma_class)()

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, span lists."""
        columns: dict[str, list[list[Span]]] = {field: [] for field in self.fields}
        for document in batch.documents():
            for field, spans in self._spans(document).items():
                columns[field].append(spans)
        return columns

    def _spans(self, document: Document) -> dict[str, list[Span]]:
        given = SimpleNamespace(
            source=document.source, version=None, id=document.id, text=document.text, metadata=document.metadata
        )
        found: dict[str, list[Span]] = {field: [] for field in self.fields}
        for span in self._tagger.predict(given).spans:
            if span.type not in self._field_of:
                raise ValueError(unknown_name(f"type of {self.dolma_class} in `types`", span.type, self.types))
            if not 0 <= span.start <= span.end <= len(document.text):
                raise ValueError(
                    f"{span.type}: [{span.start}, {span.end}] lies outside {len(document.text)} characters"
                )
            found[self._field_of[span.type]].append(Span(span.start, span.end, round(float(span.score), DIGITS)))
        return found


def field_name(type_: str) -> str:
    """The field of a type of spans: `__label__en` becomes `label__en`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", type_).lstrip("_0123456789")
    if not name:
        raise TaggerError(f"dolma_v1: the type '{type_}' holds no letter, so it cannot be a field")
    return name


def find_class(name: str) -> Any:
    """A class of Dolma's, by its name in the registry, or any class as `module:Class`.

    Raises:
        TaggerError: it cannot be had; one sentence that says what is missing.
    """
    module, colon, class_ = name.partition(":")
    try:
        if colon:
            found = getattr(importlib.import_module(module), class_, None)
            if found is None:
                raise TaggerError(f"dolma_v1: the module {module} has no class '{class_}'")
            return found
        importlib.import_module("dolma.taggers")  # registers them
        registry = importlib.import_module("dolma.core.registry").TaggerRegistry
    except ImportError as error:
        if colon:
            raise TaggerError(f"dolma_v1: {name} cannot be imported: {error}") from error
        raise TaggerError(
            f"dolma_v1 runs '{name}' of Dolma's toolkit, and that cannot be imported here ({error}): pip install dolma. "
            "Without it: dolma_gopher_v2, dolma_c4_v2 and dolma_pii_fast_v2 give the numbers of three of its taggers."
        ) from error
    if not registry.has(name):
        raise TaggerError(
            f"dolma_v1: {unknown_name('tagger of Dolma', name, [known for known, _ in registry.items()])}"
        )
    return registry.get(name)
