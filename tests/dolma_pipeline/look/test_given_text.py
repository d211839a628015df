"""One text and what taggers say of it, as a table with marks and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from dolma_pipeline import registry
from dolma_pipeline.documents import Attributes, Batch, Document, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.look.given_text import explain_given, given_text
from dolma_pipeline.look.speed import megabytes_per_second
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.tagging import DECLARED, tagger


@pytest.fixture(autouse=True)
def own_taggers() -> Iterator[None]:
    """`words_v1`, of all types of fields, which raises on a text without words."""
    registry.tagger_specs()
    before = dict(DECLARED)

    @tagger("words_v1", fields={"n": int, "mean": float, "any": bool, "first": str, "firsts": list[Span]})
    def words(doc: Document, *, score: float = 1.0) -> Attributes:
        found = doc.text.split()
        first = doc.text.index(found[0])
        span = Span(first, first + len(found[0]), score)
        mean = sum(map(len, found)) / len(found)
        return {"n": 1000 * len(found), "mean": mean, "any": True, "first": found[0], "firsts": [span]}

    yield
    DECLARED.clear()
    DECLARED.update(before)


def test_a_table_and_the_text_with_marks() -> None:
    given = explain_given("two ferries", [load_tagger("words_v1")])
    assert given_text(given, width=60, full=False, colours=False) == (
        "11 characters\n\n"
        "attribute         value\n"
        "---------------  ------\n"
        "words_v1.n        2,000\n"
        "words_v1.mean         5\n"
        "words_v1.any       true\n"
        "words_v1.first      two\n"
        "words_v1.firsts  1 span\n\n"
        "text            |two ferries\n"
        "words_v1.firsts |<->\n"
    )


def test_scores_are_shown_where_they_say_something() -> None:
    taggers = [load_tagger("words_v1", score=0.25).named("a"), load_tagger("words_v1").named("b")]
    text = given_text(explain_given("one", taggers), width=60, full=False, colours=False)
    assert "\na.firsts   1 span, score 0.25\n" in text
    assert text.index("a.firsts |<->") < text.index("b.firsts |<->")


def test_as_json_spans_have_their_text() -> None:
    record = explain_given("two ferries", [load_tagger("words_v1")]).record()
    assert record["chars"] == 11
    assert record["attributes"]["words_v1"]["firsts"] == [{"start": 0, "end": 3, "score": 1.0, "text": "two"}]
    assert record["attributes"]["words_v1"]["n"] == 2000


def test_a_tagger_that_raises_is_told() -> None:
    given = explain_given(" ", [load_tagger("words_v1"), load_tagger("length_v1")])
    assert given.record()["failed"] == {"words_v1": "IndexError: list index out of range"}
    text = given_text(given, width=60, full=False, colours=False)
    assert text.startswith("1 character\n")
    assert re.search(r"\nwords_v1 +failed: IndexError: list index out of range\n", text)
    assert "length_v1.chars" in text
    assert "text " not in text


def test_a_setup_that_raises_is_one_sentence() -> None:
    @tagger("needy_v1")
    @dataclass
    class Needy:
        fields = {"n": int}

        def setup(self) -> None:
            raise FileNotFoundError("model.bin")

        def tag(self, batch: Batch) -> Mapping[str, object]:
            return {"n": [0] * len(batch)}

    said = r"^tagger 'needy_v1': setup\(\) raised FileNotFoundError: model\.bin \(.*:\d+\)$"
    with pytest.raises(TaggerError, match=said):
        explain_given("a", [load_tagger("needy_v1")])
    with pytest.raises(TaggerError, match=r"setup\(\) raised FileNotFoundError"):
        megabytes_per_second(load_tagger("needy_v1"), ["a"])


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(TaggerError, match="two taggers are called 'words_v1'; give one a name"):
        explain_given("a", [load_tagger("words_v1"), load_tagger("words_v1", score=0.5)])
