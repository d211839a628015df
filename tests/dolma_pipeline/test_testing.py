from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dolma_pipeline import registry
from dolma_pipeline.documents import Attributes, Batch, Document, Span
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.tagging import DECLARED, tagger
from dolma_pipeline.testing import TEXTS, awkward_documents, check_tagger


@pytest.fixture(autouse=True)
def own_declarations() -> Iterator[None]:
    """Taggers that a test declares are gone after it."""
    registry.tagger_specs()
    before = dict(DECLARED)
    yield
    DECLARED.clear()
    DECLARED.update(before)


def length_of(count: Callable[[list[str]], list[Any]], fields: Any = {"n": int}) -> None:  # noqa: B006 is read only
    """Declare `odd_v1`, a class whose one column is what `count` makes of the texts."""
    columns = dict(fields)

    @tagger("odd_v1")
    @dataclass
    class Odd:
        fields = columns

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {next(iter(columns)): count(batch.strings)}


def broken(name: str = "odd_v1") -> str:
    with pytest.raises(TaggerError) as caught:
        check_tagger(name)
    return str(caught.value)


def test_good_taggers_pass_in_both_forms() -> None:
    @tagger("shouting_v1", fields={"share": float, "shouts": list[Span]})
    def shouting(doc: Document, *, least: int = 2) -> Attributes:
        words = doc.text.split()
        loud = [word for word in words if word.isupper() and len(word) >= least]
        spans = [Span(at, at + len(word)) for word in loud[:1] if (at := doc.text.find(word)) >= 0]
        return {"share": len(loud) / max(1, len(words)), "shouts": spans}

    check_tagger("shouting_v1")
    check_tagger("shouting_v1", least=3)
    length_of(lambda texts: [len(text) for text in texts])
    check_tagger("odd_v1")


def test_unknown_names_are_told() -> None:
    with pytest.raises(UnknownNameError, match="no tagger named 'nobody_knows_v1'"):
        check_tagger("nobody_knows_v1")


def test_a_name_ends_in_a_version() -> None:
    @tagger("length", fields={"n": int})
    def length(doc: Document) -> Attributes:
        return {"n": len(doc.text)}

    assert broken("length").startswith("tagger 'length': a name ends in a version, e.g. 'length_v1'")


def test_parameters_can_be_said_in_a_recipe() -> None:
    @tagger("odd_v1", fields={"n": int})
    def odd(doc: Document, *, words: frozenset[str] = frozenset("a")) -> Attributes:
        return {"n": doc.text in words}

    assert "tagger 'odd_v1': a recipe cannot say its parameters {'words': frozenset({'a'})}" in broken()


def test_a_tagger_must_not_raise_on_any_text() -> None:
    @tagger("odd_v1", fields={"share": float})
    def odd(doc: Document) -> Attributes:
        return {"share": 1 / len(doc.text.split())}

    assert broken() == "tagger 'odd_v1': raised ZeroDivisionError: division by zero on the text ''"


def test_setup_must_not_raise() -> None:
    @tagger("odd_v1")
    @dataclass
    class Odd:
        fields = {"n": int}

        def setup(self) -> None:
            raise FileNotFoundError("model.bin")

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [0] * len(batch)}

    said = broken()
    assert said.startswith("tagger 'odd_v1': setup() raised FileNotFoundError: model.bin (")
    assert re.search(r"test_testing\.py:\d+\)$", said)


def test_an_exit_is_told_as_what_it_is() -> None:
    @tagger("odd_v1", fields={"n": int})
    def odd(doc: Document) -> Attributes:
        if doc.text:
            raise SystemExit(3)
        return {"n": 0}

    said = broken()
    assert re.fullmatch(r"tagger 'odd_v1' ended the process: SystemExit: 3 \(.*:\d+\), on the text ' '", said)


def test_copies_of_a_text_are_told_apart_by_a_tagger_that_looks_at_neighbours() -> None:
    length_of(lambda texts: [texts[:row].count(text) for row, text in enumerate(texts)])
    assert broken().startswith("tagger 'odd_v1': depends on the order of documents: field 'n' was int 0, then int 1")


def test_a_broken_contract_names_the_text() -> None:
    length_of(lambda texts: [float("nan") if "é" in text else 0.0 for text in texts], {"n": float})
    said = "tagger 'odd_v1': field 'n' is nan; a value is always a number (too short = 0.0), on the text '\\xe9'"
    assert broken() == said


def test_a_long_text_is_shown_in_part() -> None:
    @tagger("odd_v1", fields={"n": int})
    def odd(doc: Document) -> Attributes:
        if len(doc.text) > 50_000:
            raise RecursionError("too deep")
        return {"n": 0}

    words = broken()
    assert words.startswith("tagger 'odd_v1': raised RecursionError: too deep on the text 'xxxx")
    assert words.endswith("x' and 99,940 more characters")


def test_a_tagger_gives_the_same_the_second_time_and_when_loaded_again() -> None:
    counter = itertools.count()
    length_of(lambda texts: [next(counter)] * len(texts))
    assert "gave another answer the second time: field 'n' was int 0, then int 1, on the text ''" in broken()

    @tagger("random_v1")
    @dataclass
    class Random:
        fields = {"n": int}

        def __post_init__(self) -> None:
            self.number = next(counter)

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [self.number] * len(batch)}

    assert "gave another answer when loaded again: field 'n'" in broken("random_v1")


def test_a_document_has_no_neighbours() -> None:
    length_of(lambda texts: list(range(len(texts))))
    assert "depends on the order of documents: field 'n' was int 0, then int" in broken()
    length_of(lambda texts: [len(texts)] * len(texts))
    assert "gave another answer in a slice of the batch: field 'n' was int" in broken()
    length_of(lambda texts: [int(len(texts) == 1)] * len(texts))
    assert "gave another answer in a batch of one: field 'n' was int 0, then int 1" in broken()


def test_a_slice_keeps_its_offset() -> None:
    @tagger("odd_v1")
    @dataclass
    class Odd:
        """Forgets that the first byte of a slice is not the first of the buffer."""

        fields = {"first": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            starts = batch.text.offsets[:-1] - batch.text.offsets[0]
            ends = batch.text.offsets[1:] - batch.text.offsets[0]
            data = np.append(batch.text.data, 0)
            return {"first": np.where(ends > starts, data[starts], -1)}

    assert "in a slice of the batch: field 'first'" in broken()


def test_bytes_are_not_code_points() -> None:
    length_of(lambda texts: [[Span(0, len(text.encode()))] for text in texts], {"whole": list[Span]})
    assert "field 'whole' holds Span(0, " in broken()
    assert "0 <= start <= end <= length must hold" in broken()


def test_a_value_is_always_a_number() -> None:
    length_of(lambda texts: [float("nan") if not text else 1.0 for text in texts], {"share": float})
    assert "field 'share' is nan; a value is always a number (too short = 0.0)" in broken()


def test_the_documents_are_as_awkward_as_said() -> None:
    texts = [document.text for document in awkward_documents()]
    assert texts == list(TEXTS)
    assert len(set(texts)) == len(texts) - 1  # the last one is there twice
    whole = "".join(texts)
    assert {"\x00", "\u200d", "\u0301", "\U0001f600", "\r", "\u2028", "\U0010ffff"} <= set(whole)
    assert {len(char.encode()) for char in whole} == {1, 2, 3, 4}
    assert max(max(map(len, text.split("\n"))) for text in texts) >= 100_000
