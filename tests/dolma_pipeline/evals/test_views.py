"""Views of items: each text by which an item may be found, and rows that are no items."""

from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.views import item_id, item_views


def views(**row: Any) -> dict[str, str]:
    return dict(item_views(row, "f.jsonl:3"))


def test_a_question_with_choices_has_the_right_answer_behind_it_and_no_wrong_one() -> None:
    found = views(question="Who? ", context="Question: Who?\nAnswer:", choices=[" he", " she"], gold=1)
    assert found == {"question": "Who?", "answered": "Who? she", "labelled": "Who? Answer she", "answer": "she"}


def test_a_context_stands_for_a_question_that_is_not_there() -> None:
    assert views(context="Q: Who?\nA:", choices=[" he", " she"], gold=0)["question"] == "Q: Who?\nA:"


def test_answers_in_other_forms() -> None:
    assert views(question="2 + 2?", answer="4")["answered"] == "2 + 2? 4"
    assert views(question="Who?", choices=["he", "she"], answer=1)["answer"] == "she"
    assert views(prompt="def f():", canonical_solution="    return 1")["answered"] == "def f(): return 1"
    assert views(question="Who?") == {"question": "Who?"}
    assert views(passage="Once.") == {"passage": "Once."}


def test_sentences_are_filled_in() -> None:
    contexts = ["The cup broke, so the cup", "The cup broke, so the table"]
    row = {"question": "The cup broke, so the _ was wet.", "choices": ["cup", "table"], "gold": 1}
    assert views(**row, contexts=contexts, continuation=" was wet.")["filled_in"] == f"{contexts[1]} was wet."
    assert views(**row)["filled_in"] == "The cup broke, so the table was wet."
    assert "filled_in" not in views(question="What does snake_case mean?", answer="this")


def test_an_item_has_the_id_that_it_brings() -> None:
    assert [item_id(row) for row in ({"id": "a/1"}, {"task_id": "b"}, {"id": 7}, {})] == ["a/1", "b", "7", ""]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"query": "Who?", "label": 1}, r"f.jsonl:3: no item of an evaluation set: it has label, query, and none of q"),
        ({}, "it has no keys"),
        ({"question": ["Who?"]}, r'"question" is .*; it must be a text'),
        ({"question": ""}, "the item has no text"),
        ({"question": "Who?", "choices": "he"}, '"choices" must be a list of texts'),
        ({"question": "Who?", "choices": ["he", "she"], "gold": 2}, '"gold" is 2; it must be a number from 0 to 1'),
        ({"question": "Who?", "choices": ["he", "she"]}, '"gold" is None'),
        ({"question": "x", "contexts": []}, '"contexts" must be a list with'),
        ({"contexts": ["a"], "continuation": "b", "choices": ["x", "y"], "gold": 0}, '"contexts" must be a list with'),
        ({"contexts": [1, 2], "continuation": "b", "choices": ["x", "y"], "gold": 0}, "list of texts; one is '1'"),
    ],
)
def test_what_is_no_item_is_told(row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        item_views(row, "f.jsonl:3")
