"""One right continuation: how many bits a model needs for it, and whether the model would write just that.

    {"id": "lambada/7", "context": "… I don't care about", "continuation": " signs"}

`gold_bits_per_byte_mean` is the mean over items of the bits that the continuation needs over its bytes in UTF-8, its
leading space counted: what ai2-olmo-eval calls bits per byte (`bpb_v2`). `gold_bits_per_byte` is the ratio of the
sums, so long continuations weigh more. `greedy_match` is the share of items of which each id is the likeliest after
those before it, that is, which greedy decoding would write: LAMBADA's accuracy (Paperno et al. 2016, arXiv 1606.06031;
lm-evaluation-harness has it as `acc`). It depends on the tokenizer less than it seems: any other way to spell the same
text counts as wrong.
Context and continuation are encoded apart; a context that does not fit is cut at its left; a continuation longer than
the window is scored in windows that follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.choices import Answers
from dolma_pipeline.evals.items import Item, group_of
from dolma_pipeline.evals.rows import Row
from dolma_pipeline.evals.scored import Measure, Scored, ScoredItem, estimates, groups_of
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.evals.tasks import Task

METRICS = ("gold_bits_per_byte_mean", "gold_bits_per_byte", "greedy_match")


def continued_items(task: Task) -> list[Item]:
    """The items of a task, each with a single answer; an example is its context, continuation and the separator.

    Raises:
        DataError: a row without a continuation, or without what its prompt asks for; names file and line.
    """
    prompt = task.template("prompt") if task.config.prompt is not None else None
    header = task.template("header")

    def own(row: Row) -> tuple[str, str]:
        context = row.values.get("context") if prompt is None else prompt.fill(row.values, place=row.place)
        if not isinstance(context, str):
            raise DataError(f'{row.place}: "context" is {context!r}; it must be a text (an empty one is allowed).')
        text = row.values.get("continuation")
        if not isinstance(text, str) or not text:
            raise DataError(f'{row.place}: "continuation" is {text!r}; it must be a text that is not empty.')
        return context, text

    items = []
    for row in task.rows:
        before = header.fill(row.values, place=row.place)
        for example in task.examples.before(row) if task.examples else ():
            before += "".join(own(example)) + task.config.separator
        context, text = own(row)
        items.append(Item(row.place, ((before + context, text),), (0,), row.id, group_of(row, task.config.group)))
    return items


def foresee(subject: Subject, task: Task, items: Sequence[Item]) -> Scored:
    """The numbers of one task.

    Args:
        items: at least one; each with a single answer.

    Returns:
        num_items, num_cut, each of `METRICS` with its standard error; by group, where the task has a `group`.

    Raises:
        DataError: a continuation of which the tokenizer makes no tokens, names file and line.
        RunError: the model's numbers are not finite.
    """
    answers = Answers(subject, task, items)
    scored = []
    for item, (nats, greedy) in zip(items, answers.nats_and_greedy(), strict=True):
        ((_, text),) = item.answers
        bits, num_bytes = nats / math.log(2), len(text.encode())
        measures: dict[str, Measure] = {
            "gold_bits_per_byte_mean": bits / num_bytes,
            "gold_bits_per_byte": (bits, float(num_bytes)),
            "greedy_match": float(greedy),
        }
        scored.append(ScoredItem(item.id, measures, {"nats": nats}, item.group))
    numbers: dict[str, Any] = {
        "num_items": len(items),
        "num_cut": answers.num_cut,
        **estimates(scored),
        **groups_of(scored, task.metric),
    }
    return Scored(numbers, scored)
