"""The kinds of tasks: what each reads of its items, and how it scores a model. Another kind is an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.evals import choices, truthful
from dolma_pipeline.evals.items import choice_items
from dolma_pipeline.evals.scored import Scored
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.evals.tasks import Task

_PROMPT = frozenset({"prompt", "header", "shots", "examples", "draw", "seed", "separator", "group"})
_ANSWERS = _PROMPT | {"answer", "prefix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of tasks.

    summary: one line. metrics: all that it reports; the first is the primary one unless a task says another.
    keys: of a task file that have an effect, beside `items`, `preset`, `kind` and `metric`. read: the items of a task,
    each checked; loads no torch. score: a model on those items.
    """

    summary: str
    metrics: Sequence[str]
    keys: frozenset[str]
    read: Callable[[Task], Sequence[Any]]
    score: Callable[[Subject, Task, Sequence[Any]], Scored]


KINDS: Mapping[str, Kind] = {
    "choices": Kind(
        summary="the likeliest of the answers, of which one is right",
        metrics=choices.METRICS,
        keys=_ANSWERS | {"neutral"},
        read=choice_items,
        score=choices.rank_answers,
    ),
    "mc1": Kind(
        summary="the same, with `labels` in place of `gold`",
        metrics=choices.METRICS,
        keys=_ANSWERS | {"neutral"},
        read=choice_items,
        score=choices.rank_answers,
    ),
    "mc2": Kind(
        summary="the probability of all true answers together",
        metrics=truthful.METRICS,
        keys=_ANSWERS,
        read=choice_items,
        score=truthful.true_mass,
    ),
}
