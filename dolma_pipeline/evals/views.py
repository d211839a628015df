"""Views of an evaluation item: the texts of it that may stand in a document.

An item is what task files have (`evals.tasks`: `choices` with `gold`, `context`, or `contexts` and `continuation`), the
`question` (or `prompt`) beside them, a `passage`, an `answer` in place of choices. A row with a `text` alone is a
document. Wrong answers are no views: each stands in many texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dolma_pipeline.errors import DataError

QUESTION_KEYS = ("question", "prompt", "context")
"""Keys of a question, the best first: a context has words of its template, such as `Answer:`."""
ANSWER_KEYS = ("answer", "canonical_solution")
ID_KEYS = ("id", "task_id")
ITEM_KEYS = (*QUESTION_KEYS, "contexts", "passage")
"""A row is an item if it has one of these."""

_BLANK = re.compile(r"(?<!\w)_+(?!\w)")


class View(NamedTuple):
    """One text of an item. kind: question, answered, labelled, filled_in, passage, answer or text."""

    kind: str
    text: str


def item_views(row: Mapping[str, Any], place: str) -> list[View]:
    """The views of an item.

    question: as it stands. answered: with the right answer behind it; labelled: with the word "Answer" between them.
    filled_in: the sentence with the right answer in its blank. passage. answer: the right answer alone, of which only
    a long one says something.

    Args:
        row: a JSON object. place: what errors call it, such as `file:line`.

    Raises:
        DataError: it is no item, or a key has another type than it should.
    """
    if "text" in row and not any(key in row for key in ITEM_KEYS):
        raise DataError(f'{place}: "text" is {str(row["text"])[:60]!r}; it must be a text.')
    if not any(key in row for key in ITEM_KEYS):
        raise DataError(
            f"{place}: no item of an evaluation set: it has {', '.join(sorted(row)) or 'no keys'}, and none of "
            f"{', '.join(ITEM_KEYS)}, text."
        )
    views: list[View] = []
    question = next((text for key in QUESTION_KEYS if (text := _text(row, key, place))), "")
    answer = _right_answer(row, place)
    if question:
        views.append(View("question", question))
    if question and answer:
        views += [View("answered", f"{question} {answer}"), View("labelled", f"{question} Answer {answer}")]
    if filled := _filled_in(row, question, answer, place):
        views.append(View("filled_in", filled))
    if passage := _text(row, "passage", place):
        views.append(View("passage", passage))
    if answer:
        views.append(View("answer", answer))
    if not views:
        raise DataError(f"{place}: the item has no text; its {', '.join(sorted(row))} are empty.")
    return views


def item_id(row: Mapping[str, Any]) -> str:
    """The item's own id; "" if it has none."""
    return next((str(row[key]) for key in ID_KEYS if isinstance(row.get(key), str | int)), "")


def _text(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f'{place}: "{key}" is {str(value)[:60]!r}; it must be a text.')
    return value.strip()


def _right_answer(row: Mapping[str, Any], place: str) -> str:
    choices, gold = row.get("choices"), row.get("gold", row.get("answer"))
    if choices is None:
        return next((text for key in ANSWER_KEYS if (text := _text(row, key, place))), "")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise DataError(f'{place}: "choices" must be a list of texts; it is {str(choices)[:60]!r}.')
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
        raise DataError(f'{place}: "gold" is {gold!r}; it must be a number from 0 to {len(choices) - 1}.')
    return str(choices[gold]).strip()


def _filled_in(row: Mapping[str, Any], question: str, answer: str, place: str) -> str:
    contexts = row.get("contexts")
    if contexts is not None:
        continuation = _text(row, "continuation", place)
        if not isinstance(contexts, list) or not contexts or len(contexts) != len(row.get("choices") or ()):
            raise DataError(f'{place}: "contexts" must be a list with a text for each of "choices".')
        context = contexts[row.get("gold", row.get("answer"))]
        if not isinstance(context, str):
            raise DataError(f'{place}: "contexts" must be a list of texts; one is {str(context)[:60]!r}.')
        return f"{context.strip()} {continuation}"
    if answer and _BLANK.search(question):
        return _BLANK.sub(lambda _: answer, question, count=1)
    return ""
