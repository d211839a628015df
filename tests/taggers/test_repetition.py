"""`repetition_v1`: spans, repeats, the longest run, and shares of texts that are known."""

from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.documents import Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.repetition import Repetition


def tag(text: str, **parameters: int) -> dict[str, Any]:
    return dict(load_tagger("repetition_v1", **parameters)(text))


def test_keeps_its_promises() -> None:
    check_tagger("repetition_v1")
    check_tagger("repetition_v1", min_char_repeats=2, min_word_repeats=2, max_unit_bytes=1, max_unit_words=1)


def test_runs_of_characters_and_words_with_their_repeats() -> None:
    text = "Größe: " + "ha" * 10 + "! " + "no way " * 4 + "then."
    found = tag(text, min_char_repeats=8)
    assert found["char_runs"] == [Span(7, 27, 10.0)]
    assert text[7:27] == "ha" * 10
    assert found["word_runs"] == [Span(29, 56, 4.0)]
    assert text[29:56] == "no way no way no way no way"
    assert (found["max_char_repeats"], found["longest_char_run"]) == (10, 20)
    assert (found["max_word_repeats"], found["longest_word_run"]) == (4, 27)
    assert found["char_run_share"] == 20 / len(text)
    assert found["word_run_share"] == 27 / len(text)
    assert found["run_share"] == 47 / len(text)


def test_a_character_in_several_runs_counts_once() -> None:
    text = "好 好 好 好 好 好 好 好 好 好" + " end"
    found = tag(text, min_char_repeats=8)
    assert found["char_runs"] == [Span(0, 20, 10.0)]
    assert found["word_runs"] == [Span(0, 19, 10.0)]
    assert found["run_share"] == 20 / 23
    two = tag("aaaaaaaabbbbbbbbabbbbbbbbabbbbbbbba", min_char_repeats=3)
    assert two["char_run_share"] == 1.0
    assert len(two["char_runs"]) == 5


def test_nothing_repeated_is_zero() -> None:
    for text in ("", "   \n\n   ", "one two three"):
        assert tag(text) == {
            "char_runs": [], "word_runs": [], "max_char_repeats": 0, "max_word_repeats": 0, "longest_char_run": 0,
            "longest_word_run": 0, "char_run_share": 0.0, "word_run_share": 0.0, "run_share": 0.0,
        }  # fmt: skip


def test_parameters_bound_units_and_repeats() -> None:
    text = "one two three " * 5
    assert tag(text)["max_word_repeats"] == 5
    assert tag(text, max_unit_words=2)["max_word_repeats"] == 0
    assert tag(text, min_word_repeats=6)["max_word_repeats"] == 0
    assert tag(text, min_char_repeats=5)["max_char_repeats"] == 5
    assert tag(text, min_char_repeats=5, max_unit_bytes=13)["max_char_repeats"] == 0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"min_char_repeats": 1}, "repetition_v1: min_char_repeats is at least 2; got 1"),
        ({"max_unit_words": 0}, "repetition_v1: max_unit_words is at least 1; got 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, int], words: str) -> None:
    with pytest.raises(TaggerError, match=words):
        Repetition(**parameters)
