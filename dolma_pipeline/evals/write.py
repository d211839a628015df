"""Generation for a judge: what the model writes after each prompt goes to a file, and nothing is scored here.

ToxiGen (Hartvigsen et al. 2022, arXiv 2203.09509) and AlpacaEval need a classifier or another model to judge; they
read the rows of the task: `id`, `prompt`, `text` and `sample`, which counts the texts of a prompt from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dolma_pipeline.evals.complete import Complete
from dolma_pipeline.evals.prompts import Asked, asked_items, prompts_of
from dolma_pipeline.evals.scored import Scored, ScoredItem, estimates
from dolma_pipeline.evals.tasks import Task

METRICS = ("written_chars",)


def written_items(task: Task) -> list[Asked]:
    """The prompts of a task: its `prompt` filled, else each item's `context` or `prompt`.

    Raises:
        DataError: as `asked_items`.
    """
    return asked_items(task, answered=False)


def write(complete: Complete, task: Task, items: Sequence[Asked]) -> Scored:
    """What the model writes.

    Returns:
        num_items, num_empty (texts of nothing), written_chars (the mean length of a text) with its standard error; a
        row for each text.
    """
    config = task.config
    texts = complete(
        prompts_of(items),
        max_tokens=config.max_tokens,
        stop=config.stop,
        samples=config.samples,
        temperature=config.temperature,
    )
    rows = [
        ScoredItem(
            item.prompt.key,
            {"written_chars": float(len(text))},
            {"prompt": item.prompt.text, "text": text, "sample": sample},
        )
        for item, written in zip(items, texts, strict=True)
        for sample, text in enumerate(written)
    ]
    numbers: dict[str, Any] = {
        "num_items": len(items),
        "num_empty": sum(not row.more["text"] for row in rows),
        **estimates(rows),
    }
    return Scored(numbers, rows)
