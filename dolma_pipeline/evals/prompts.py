"""Prompts after which a model writes: header, examples with their answers, and the item's own question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.items import group_of
from dolma_pipeline.evals.rows import Row
from dolma_pipeline.evals.tasks import Task


@dataclass(frozen=True, slots=True)
class Asked:
    """An item to write on. place: file:line. prompt: its id, and the text. answer: the right one; "" of none."""

    place: str
    prompt: Prompt
    answer: str
    group: str


def asked_items(task: Task, *, answered: bool) -> list[Asked]:
    """The items of a task that lets a model write.

    Args:
        answered: each item has its right answer as `answer`, and so has each example, behind its prompt and a blank.

    Raises:
        DataError: an item without what its prompt asks for, without an answer, or with the id of another.
    """
    prompt = task.template("prompt") if task.config.prompt is not None else None
    header = task.template("header")

    def own(row: Row) -> str:
        if prompt is not None:
            return prompt.fill(row.values, place=row.place)
        return _text(row, "context" if "context" in row.values else "prompt")

    items, places = list[Asked](), dict[str, str]()
    for row in task.rows:
        if row.id in places:
            raise DataError(f'{row.place}: has the id "{row.id}", as {places[row.id]} has; ids are to be unique.')
        places[row.id] = row.place
        before = header.fill(row.values, place=row.place)
        for example in task.examples.before(row) if task.examples else ():
            before += f"{own(example)} {_text(example, 'answer')}{task.config.separator}"
        answer = _text(row, "answer") if answered else ""
        items.append(Asked(row.place, Prompt(row.id, before + own(row)), answer, group_of(row, task.config.group)))
    return items


def prompts_of(items: Sequence[Asked]) -> list[Prompt]:
    """The prompts alone."""
    return [item.prompt for item in items]


def _text(row: Row, key: str) -> str:
    value = row.values.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f'{row.place}: "{key}" is {value!r}; it must be a text that is not empty.')
    return value
