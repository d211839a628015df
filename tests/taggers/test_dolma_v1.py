"""`dolma_v1`: classes of Dolma's protocol, and Dolma's own where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from dolma_pipeline.documents import Batch, Document, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger


@dataclass
class TheirSpan:
    start: int
    end: int
    type: str
    score: float = 1.0


@dataclass
class Result:
    doc: Any
    spans: list[TheirSpan] = field(default_factory=list)


class Words:
    """A tagger as Dolma's: spans of two types, and of a third one where the text asks for it."""

    def predict(self, doc: Any) -> Result:
        spans = [TheirSpan(0, len(doc.text), "__label__len", len(doc.text) / 3)]
        if "stars" in (doc.metadata or {}):
            spans.append(TheirSpan(0, 0, "stars", doc.metadata["stars"]))
        if doc.text == "odd":
            spans.append(TheirSpan(0, 1, "odd"))
        if doc.text == "long":
            spans.append(TheirSpan(0, 5, "stars"))
        return Result(doc, spans)


@pytest.fixture(autouse=True)
def their_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("their_dolma_taggers")
    module.Words = Words  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def words(*types: str) -> Any:
    return load_tagger("dolma_v1", dolma_class="their_dolma_taggers:Words", types=list(types))


def test_types_become_fields_and_scores_are_rounded() -> None:
    tagger = words("__label__len", "stars")
    assert tagger.fields == {"label__len": list[Span], "stars": list[Span]}
    document = Document("abcd", metadata={"stars": 7})
    assert tagger(document) == {"label__len": [Span(0, 4, pytest.approx(1.33333))], "stars": [Span(0, 0, 7.0)]}
    check_tagger("dolma_v1", dolma_class="their_dolma_taggers:Words", types=["__label__len", "stars"])


def test_a_document_with_what_is_not_named_or_lies_outside_fails() -> None:
    column, failures = words("__label__len", "stars").attributes(Batch.of(["fine", "odd", "long"]))
    assert [row is None for row in column.to_pylist()] == [False, True, True]
    assert [(one.row, one.reason.split(".")[0]) for one in failures] == [
        (1, "ValueError: no type of their_dolma_taggers:Words in `types` named 'odd'"),
        (2, "ValueError: stars: [0, 5] lies outside 4 characters"),
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "dolma_v1 needs dolma_class and types, as in {tagger: dolma_v1, dolma_class: gopher_v1, types: "),
        ({"dolma_class": "gopher_v1"}, "dolma_v1 needs types, as in "),
        ({"dolma_class": "a:B", "types": ["a-b", "A_b"]}, "dolma_v1: two of the types a-b, A_b make the same field"),
        ({"dolma_class": "a:B", "types": ["_1"]}, "dolma_v1: the type '_1' holds no letter"),
    ],
)
def test_what_it_needs(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(TaggerError) as caught:
        load_tagger("dolma_v1", **parameters)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_module_of_theirs:Words", "dolma_v1: no_module_of_theirs:Words cannot be imported: No module named"),
        ("their_dolma_taggers:Other", "dolma_v1: the module their_dolma_taggers has no class 'Other'"),
    ],
)
def test_classes_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(TaggerError) as caught:
        load_tagger("dolma_v1", dolma_class=name, types=["a"]).setup()
    assert str(caught.value).startswith(message)


def test_without_dolma_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dolma", None)
    monkeypatch.delitem(sys.modules, "dolma.taggers", raising=False)
    with pytest.raises(TaggerError, match=r"runs 'gopher_v1' of Dolma's toolkit, and that cannot be imported here"):
        load_tagger("dolma_v1", dolma_class="gopher_v1", types=["word_count"]).setup()


@pytest.mark.skipif(importlib.util.find_spec("dolma") is None, reason="the package dolma is not installed here")
def test_a_tagger_of_dolmas_registry() -> None:
    tagger = load_tagger("dolma_v1", dolma_class="char_length_v1", types=["length"])
    assert tagger("four") == {"length": [Span(0, 4, 4.0)]}
    with pytest.raises(TaggerError, match="no tagger of Dolma named 'char_lenght_v1'"):
        load_tagger("dolma_v1", dolma_class="char_lenght_v1", types=["length"]).setup()
