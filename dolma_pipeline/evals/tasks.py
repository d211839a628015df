"""Task files: a JSON object a line, a question and answers of which one is right.

    {"id": "arc/17", "context": "Question: ...\\nAnswer:", "choices": [" yes", " no"], "gold": 0}

What is scored is the choice as it stands, its leading space included. Where the answers stand within the question (as
in Winogrande) `contexts`, one a choice, and one `continuation` take the place of `context`; then the continuation is
scored after each context. Other keys are of no concern here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class Item:
    """A question. answers: (context, continuation) of each choice. gold: index of the right one. place: file:line."""

    place: str
    answers: tuple[tuple[str, str], ...]
    gold: int


def read_items(path: Path) -> list[Item]:
    """The items of a task file, in order.

    Raises:
        UsageError: no such file.
        DataError: a line that is not an item, or no items at all; it names file and line.
    """
    if not path.is_file():
        raise UsageError(f"eval.tasks: {path}: no such file.")
    items = list(_items(path))
    if not items:
        raise DataError(f"{path}: no items. A task file has a JSON object on each line.")
    return items


def _items(path: Path) -> Iterator[Item]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{place}: not a JSON object: {line[:60]!r}")
        choices = _texts(row, "choices", place)
        if len(choices) < 2:
            raise DataError(f'{place}: "choices" has {len(choices)} text; at least 2 are needed to choose from.')
        answers = _answers(row, choices, place)
        gold = row.get("gold")
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
            raise DataError(f'{place}: "gold" is {gold!r}; it must be a number from 0 to {len(choices) - 1}.')
        yield Item(place, tuple(answers), gold)


def _answers(row: dict[str, Any], choices: list[str], place: str) -> list[tuple[str, str]]:
    if "contexts" in row:
        contexts, continuation = _texts(row, "contexts", place), row.get("continuation")
        if len(contexts) != len(choices):
            raise DataError(f'{place}: {len(contexts)} "contexts" for {len(choices)} "choices"; there is one for each.')
        if not isinstance(continuation, str) or not continuation:
            raise DataError(f'{place}: "contexts" needs a text as "continuation"; it is {continuation!r}.')
        return [(context, continuation) for context in contexts]
    context = row.get("context")
    if not isinstance(context, str):
        raise DataError(f'{place}: "context" is {context!r}; it must be a text (an empty one is allowed).')
    if "" in choices:
        raise DataError(f'{place}: an empty text in "choices" cannot be scored.')
    return [(context, choice) for choice in choices]


def _texts(row: dict[str, Any], key: str, place: str) -> list[str]:
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        shown = f"it is {value!r}"[:80] if key in row else f"the line has: {', '.join(sorted(row)) or 'nothing'}"
        raise DataError(f'{place}: "{key}" must be a list of texts; {shown}.')
    return value
