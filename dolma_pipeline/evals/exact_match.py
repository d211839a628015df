r"""Exact match: the model writes, and what it wrote says the right answer or not.

`match: number` is GSM8K's rule: the right answer is the number behind `####` in the item's `answer`. `exact_match`
wants `#### ` and that number in what the model wrote, the first of them (Cobbe et al. 2021, arXiv 2110.14168, and the
evaluation released with it: `#### (\-?[0-9\.\,]+)`, commas taken out, compared as texts). `exact_match_last_number`
takes the last number of it, whatever stands around, as lm-evaluation-harness' `flexible-extract` does; without commas,
`$` and a full stop at its end. `match: text` compares the whole answer, without blanks at its ends, and has
`exact_match` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.complete import Complete
from dolma_pipeline.evals.prompts import Asked, asked_items, prompts_of
from dolma_pipeline.evals.scored import Scored, ScoredItem, estimates, groups_of
from dolma_pipeline.evals.tasks import Task

METRICS = ("exact_match", "exact_match_last_number")
_MARKED = re.compile(r"#### (-?[0-9.,]+)")
_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def matched_items(task: Task) -> list[Asked]:
    """The items of a task, whose answers can be compared.

    Raises:
        DataError: as `asked_items`, or an answer without `#### ` and a number; names file and line.
    """
    items = asked_items(task, answered=True)
    if task.config.match == "number":
        for item in items:
            if not re.search("[0-9]", marked_number(item.answer) or ""):
                raise DataError(
                    f'{item.place}: "answer" has no number behind "#### "; with `match: text` the whole answer is '
                    "compared."
                )
    elif blank := next((item for item in items if not item.answer.strip()), None):
        raise DataError(f'{blank.place}: "answer" is {blank.answer!r}; a model that writes nothing would be right.')
    elif task.metric != "exact_match":
        raise DataError(f"{task.path}: metric: {task.metric} is for `match: number`.")
    return items


def exact_match(complete: Complete, task: Task, items: Sequence[Asked]) -> Scored:
    """The numbers of one task.

    Args:
        complete: writes; greedy.

    Returns:
        num_items, exact_match and, of numbers, exact_match_last_number, each with its standard error; by group, where
        the task has a `group`.
    """
    config = task.config
    texts = complete(prompts_of(items), max_tokens=config.max_tokens, stop=config.stop, samples=1, temperature=0.0)
    scored = []
    for item, (text,) in zip(items, texts, strict=True):
        wanted = marked_number(item.answer) if config.match == "number" else item.answer.strip()
        rules: dict[str, Callable[[str], str | None]] = {"exact_match": str.strip}
        if config.match == "number":
            rules = {"exact_match": marked_number, "exact_match_last_number": last_number}
        measures = {name: float(rule(text) == wanted) for name, rule in rules.items()}
        scored.append(ScoredItem(item.prompt.key, measures, {"text": text}, item.group))
    numbers: dict[str, Any] = {"num_items": len(items), **estimates(scored), **groups_of(scored, task.metric)}
    return Scored(numbers, scored)


def marked_number(text: str) -> str | None:
    """The first number behind `#### `, without commas; None if there is none."""
    found = _MARKED.search(text)
    return found[1].replace(",", "") if found else None


def last_number(text: str) -> str | None:
    """The last number of a text, without commas, `$` and a full stop at its end; None if there is none."""
    found = _NUMBER.findall(text)
    return re.sub(r"[,$]|\.$", "", found[-1]) if found else None
