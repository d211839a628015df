"""The kinds of tasks: what each reads of its items, and how it scores a model. Another kind is an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dolma_pipeline.evals import choices, continuation, exact_match, truthful, write
from dolma_pipeline.evals.code import pass_rate, program_items
from dolma_pipeline.evals.items import choice_items
from dolma_pipeline.evals.scored import Scored
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.evals.tasks import Task

_PROMPT = frozenset({"prompt", "header", "shots", "examples", "draw", "seed", "separator", "group"})
_ANSWERS = _PROMPT | {"answer", "prefix"}
_SAMPLES = frozenset({"max_tokens", "samples", "temperature", "seed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of tasks.

    summary: one line. metrics: all that it reports; the first is the primary one unless a task says another.
    keys: of a task file that have an effect, beside `items`, `preset`, `kind` and `metric`. read: the items of a task,
    each checked; loads no torch. score: a model on those items. reads_file: it reads the file of items itself.
    """

    summary: str
    metrics: Sequence[str]
    keys: frozenset[str]
    read: Callable[[Task], Sequence[Any]]
    score: Callable[[Subject, Task, Sequence[Any]], Scored]
    reads_file: bool = False


def _exact_match(subject: Subject, task: Task, items: Sequence[Any]) -> Scored:
    complete = subject.completer(task.name, seed=task.config.seed)
    scored = exact_match.exact_match(complete, task, items)
    return replace(scored, numbers={**scored.numbers, "num_cut": complete.num_cut})


def _write(subject: Subject, task: Task, items: Sequence[Any]) -> Scored:
    complete = subject.completer(task.name, seed=task.config.seed)
    scored = write.write(complete, task, items)
    return replace(scored, numbers={**scored.numbers, "num_cut": complete.num_cut})


def _code(subject: Subject, task: Task, items: Sequence[Any]) -> Scored:
    complete = subject.completer(task.name, seed=task.config.seed)
    scored = pass_rate(complete, task, items, allow_code=subject.allow_code)
    return replace(scored, numbers={**scored.numbers, "num_cut": complete.num_cut})


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
    "continuation": Kind(
        summary="the one right continuation: bits a byte, and whether the model would write just that",
        metrics=continuation.METRICS,
        keys=_PROMPT | {"prefix"},
        read=continuation.continued_items,
        score=continuation.foresee,
    ),
    "exact_match": Kind(
        summary="what the model writes says the right answer: a number behind ####, or the whole text",
        metrics=exact_match.METRICS,
        keys=_PROMPT | {"match", "max_tokens", "stop"},
        read=exact_match.matched_items,
        score=_exact_match,
    ),
    "write": Kind(
        summary="what the model writes goes to a file, for a judge",
        metrics=write.METRICS,
        keys=(_PROMPT - {"group"}) | _SAMPLES | {"stop"},
        read=write.written_items,
        score=_write,
    ),
    "code": Kind(
        summary="programs that the model writes are run against tests, with --allow-code",
        metrics=("pass@1",),
        keys=_SAMPLES | {"shots", "ks"},
        read=program_items,
        score=_code,
        reads_file=True,
    ),
}
