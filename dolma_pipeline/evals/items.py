"""Questions with answers to choose from.

    {"id": "arc/17", "context": "Question: ...\\nAnswer:", "choices": [" yes", " no"], "gold": 0}

What is scored is the choice as it stands, its leading space included, unless the task file has a `prompt` and an
`answer`. Where the answers stand within the question (as in Winogrande) `contexts`, one a choice, and one
`continuation` take the place of `context`; then the continuation is scored after each context. `labels`, 1 or 0 for
each choice, take the place of `gold` where several answers are right. Other keys are of no concern here.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.rows import Row
from dolma_pipeline.evals.tasks import Task, TaskConfig, read_task

HUGGING_FACE = {"mc1": "mc1_targets", "mc2": "mc2_targets"}
"""Kind -> the key under which TruthfulQA's file on the Hugging Face hub has `choices` and `labels`."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question.

    place: file:line. answers: (context, continuation) of each choice. right: indices of the right ones, at least one.
    between: the answers stand in the contexts, and all continuations are one.
    """

    place: str
    answers: tuple[tuple[str, str], ...]
    right: tuple[int, ...]
    id: str = ""
    group: str = ""
    between: bool = False

    @property
    def gold(self) -> int:
        """The right one, of an item that has one."""
        return self.right[0]


def read_items(path: Path) -> list[Item]:
    """The items of a task of choices, in order; see `read_task` and `choice_items`."""
    return choice_items(read_task(path))


def choice_items(task: Task) -> list[Item]:
    """The items of a task whose kind is `choices`, `mc1` or `mc2`.

    Raises:
        DataError: a row that is not such an item; names file and line.
    """
    writer = _Writer(task)
    return [writer.item(row) for row in task.rows]


class _Writer:
    """Writes the prompts of a task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kind = task.config.kind
        self._prompt = task.template("prompt") if task.config.prompt is not None else None
        self._answer, self._header = task.template("answer"), task.template("header")

    def item(self, row: Row) -> Item:
        answers, right, between = self._own(row)
        before = self._header.fill(row.values, place=row.place)
        for example in self._task.examples.before(row) if self._task.examples else ():
            shown, gold, _ = self._own(example)
            before += "".join(shown[gold[0]]) + self._task.config.separator
        contexts = tuple((before + context, continuation) for context, continuation in answers)
        return Item(row.place, contexts, right, row.id, group_of(row, self._task.config.group), between)

    def _own(self, row: Row) -> tuple[list[tuple[str, str]], tuple[int, ...], bool]:
        """Context and continuation of each answer, without header and examples; the right ones."""
        values = row.values
        if self._kind in HUGGING_FACE and HUGGING_FACE[self._kind] in values:
            values = {**values, **_mapping(values, HUGGING_FACE[self._kind], row.place)}
        choices = _texts(values, "choices", row.place)
        if len(choices) < 2:
            raise DataError(f'{row.place}: "choices" has {len(choices)} text; at least 2 are needed to choose from.')
        between = "contexts" in values
        answers = _between(values, choices, row.place) if between else self._after(values, choices, row.place)
        if between:
            self._no_effect(row.place)
        right = _labelled(values, choices, row.place) if self._kind == "mc2" else (self._gold(row, values, choices),)
        return answers, right, between

    def _no_effect(self, place: str) -> None:
        config, default = self._task.config, TaskConfig(items=self._task.config.items)
        for key in ("prompt", "answer", "neutral"):
            if getattr(config, key) != getattr(default, key):
                raise DataError(f'{place}: the item has "contexts", so `{key}` has no effect on it; leave it out.')

    def _after(self, values: Mapping[str, Any], choices: list[str], place: str) -> list[tuple[str, str]]:
        lettered = "\n".join(f"{letter(i)}. {choice.removeprefix(' ')}" for i, choice in enumerate(choices))
        context = values.get("context")
        if self._prompt is not None:
            context = self._prompt.fill({**values, "lettered": lettered}, place=place)
        if not isinstance(context, str):
            raise DataError(f'{place}: "context" is {context!r}; it must be a text (an empty one is allowed).')
        if "" in choices:
            raise DataError(f'{place}: an empty text in "choices" cannot be scored.')
        return [
            (context, self._answer.fill({**values, "choice": choice, "letter": letter(i)}, place=place))
            for i, choice in enumerate(choices)
        ]

    def _gold(self, row: Row, values: Mapping[str, Any], choices: list[str]) -> int:
        if self._kind == "mc1":
            right = _labelled(values, choices, row.place)
            if len(right) > 1:
                raise DataError(f'{row.place}: "labels" has {len(right)} right answers; mc1 is for one (mc2 for more).')
            return right[0]
        gold = values.get("gold", values.get("answer"))
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
            raise DataError(f'{row.place}: "gold" is {gold!r}; it must be a number from 0 to {len(choices) - 1}.')
        return gold


def letter(index: int) -> str:
    """A for 0, B for 1, …"""
    return string.ascii_uppercase[index] if index < len(string.ascii_uppercase) else str(index + 1)


def group_of(row: Row, key: str) -> str:
    """What an item has under the task's `group`; "" if the task has none.

    Raises:
        DataError: the item has no text there.
    """
    if not key:
        return ""
    if not isinstance(group := row.values.get(key), str) or not group:
        raise DataError(f'{row.place}: "{key}" is {group!r}; the task\'s `group` must be a text in each item.')
    return group


def _labelled(values: Mapping[str, Any], choices: list[str], place: str) -> tuple[int, ...]:
    labels = values.get("labels")
    if not isinstance(labels, list) or len(labels) != len(choices) or not all(label in (0, 1) for label in labels):
        raise DataError(
            f'{place}: "labels" must be a list of {len(choices)} times 0 or 1, one a choice; it is {labels!r}.'
        )
    right = tuple(i for i, label in enumerate(labels) if label)
    if not right or len(right) == len(choices):
        raise DataError(
            f'{place}: "labels" must have right and wrong answers; {len(right)} of {len(choices)} are right.'
        )
    return right


def _between(values: Mapping[str, Any], choices: list[str], place: str) -> list[tuple[str, str]]:
    contexts, continuation = _texts(values, "contexts", place), values.get("continuation")
    if len(contexts) != len(choices):
        raise DataError(f'{place}: {len(contexts)} "contexts" for {len(choices)} "choices"; there is one for each.')
    if not isinstance(continuation, str) or not continuation:
        raise DataError(f'{place}: "contexts" needs a text as "continuation"; it is {continuation!r}.')
    return [(context, continuation) for context in contexts]


def _mapping(values: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    if not isinstance(found := values[key], dict):
        raise DataError(f'{place}: "{key}" must be an object with "choices" and "labels"; it is {found!r}.'[:200])
    return found


def _texts(values: Mapping[str, Any], key: str, place: str) -> list[str]:
    value = values.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        shown = f"it is {value!r}"[:80] if key in values else f"the line has: {', '.join(sorted(values)) or 'nothing'}"
        raise DataError(f'{place}: "{key}" must be a list of texts; {shown}.')
    return value
