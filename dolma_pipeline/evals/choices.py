"""Rank classification: of the answers to a question, the model's is the one it finds likeliest.

Of each answer the log-probability of its tokens after the context is summed. `acc` takes the largest sum, `acc_norm`
the largest sum for each character (a leading space not counted), as in lm-evaluation-harness and OLMo's evaluation,
`acc_per_byte` and `acc_per_token` the same for bytes and tokens; among equals the first. `acc_pmi` takes the answer
that gains most from the question: its log-probability less that after a context without one, `Answer:` (Holtzman et
al. 2021, arXiv 2104.08315: the domain-conditional form). Where the answers stand in the contexts there is no such gain,
and no `acc_pmi`.

`gold_bits_per_byte` is smoother for small models: bits that the right answers need over their bytes, a ratio of sums,
so long answers weigh more; `gold_bits_per_byte_mean` is the mean of the items' own ratios. Context and answer are
encoded apart, so the answer's tokens do not depend on its context. A context that does not fit is cut at its left; an
answer longer than the window is scored in windows that follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.items import Item
from dolma_pipeline.evals.scored import Measure, Scored, ScoredItem, estimates, groups_of
from dolma_pipeline.evals.subject import Ids, Subject
from dolma_pipeline.evals.tasks import Task

METRICS = (
    "acc",
    "acc_norm",
    "acc_per_byte",
    "acc_per_token",
    "acc_pmi",
    "gold_bits_per_byte",
    "gold_bits_per_byte_mean",
)
_UNCONDITIONAL_AT_ONCE = 16
"""Answers scored after one neutral context."""


def rank_answers(subject: Subject, task: Task, items: Sequence[Item]) -> Scored:
    """The numbers of one task.

    Args:
        task: for its `prefix`, `neutral` and primary metric.
        items: at least one; each with one right answer.

    Returns:
        num_items, num_cut (items with a context that did not fit), each of `METRICS` with its standard error (None for
        a single item), chance (of a blind guess); by group, where the task has a `group`.

    Raises:
        DataError: an answer of which the tokenizer makes no tokens, names file and line; or `acc_pmi` as the primary
            metric where answers stand in contexts.
        RunError: the model's numbers are not finite.
    """
    between = next((item for item in items if item.between), None)
    if between and task.metric == "acc_pmi":
        raise DataError(f"{between.place}: the answers stand in the contexts, so there is no acc_pmi to be `metric`.")
    answers = Answers(subject, task, items)
    nats = answers.nats()
    neutral = None if between else answers.neutral_nats()
    scored = [
        ScoredItem(
            item.id,
            _measures(item, nats[i], answers.num_tokens(i), neutral[i] if neutral else None),
            {"nats": nats[i]},
            item.group,
        )
        for i, item in enumerate(items)
    ]
    numbers: dict[str, Any] = {
        "num_items": len(items),
        "num_cut": answers.num_cut,
        **estimates(scored),
        "chance": math.fsum(1 / len(item.answers) for item in items) / len(items),
        **groups_of(scored, task.metric),
    }
    return Scored(numbers, scored)


def _measures(item: Item, nats: list[float], num_tokens: list[int], neutral: list[float] | None) -> dict[str, Measure]:
    """What one item says of each metric."""
    texts = [text.removeprefix(" ") for _, text in item.answers]
    ranked = {
        "acc": nats,
        "acc_norm": [value / max(1, len(text)) for value, text in zip(nats, texts, strict=True)],
        "acc_per_byte": [value / max(1, len(text.encode())) for value, text in zip(nats, texts, strict=True)],
        "acc_per_token": [value / number for value, number in zip(nats, num_tokens, strict=True)],
    }
    if neutral is not None:
        ranked["acc_pmi"] = [value - alone for value, alone in zip(nats, neutral, strict=True)]
    bits, num_bytes = nats[item.gold] / math.log(2), len(item.answers[item.gold][1].encode())
    return {
        **{name: float(values.index(min(values)) == item.gold) for name, values in ranked.items()},
        "gold_bits_per_byte": (bits, float(num_bytes)),
        "gold_bits_per_byte_mean": bits / num_bytes,
    }


class Answers:
    """The ids of all contexts and answers of a task.

    Attributes:
        num_cut: items with a context that does not fit into the window beside an answer.
    """

    def __init__(self, subject: Subject, task: Task, items: Sequence[Item]) -> None:
        """Encode them.

        Raises:
            DataError: an answer without tokens, or a context without any where the task has no prefix.
        """
        self._subject, self._task, self._items = subject, task, items
        self._prefix: Ids = np.array([subject.eos_id] if task.config.prefix == "eos" else [], np.int64)
        contexts = list(dict.fromkeys(context for item in items for context, _ in item.answers))
        texts = list(dict.fromkeys(text for item in items for _, text in item.answers))
        encoded = [np.concatenate((self._prefix, ids)) for ids in subject.encode(contexts)]
        self._contexts = dict(zip(contexts, encoded, strict=True))
        self._ids = dict(zip(texts, subject.encode(texts), strict=True))
        cut = set[int]()
        for i, item in enumerate(items):
            for context, text in item.answers:
                if not len(self._ids[text]):
                    raise DataError(f"{item.place}: the answer {text!r} has no tokens, so it cannot be scored.")
                if not len(self._contexts[context]):
                    raise DataError(f"{item.place}: the context has no tokens; that needs `prefix: eos`.")
                if len(self._contexts[context]) + len(self._ids[text]) - 1 > subject.length:
                    cut.add(i)
        self.num_cut = len(cut)

    def num_tokens(self, item: int) -> list[int]:
        """Of each answer of an item."""
        return [len(self._ids[text]) for _, text in self._items[item].answers]

    def nats(self) -> list[list[float]]:
        """Of each answer of each item, after its context.

        Raises:
            RunError: one is not finite.
        """
        from dolma_pipeline.evals.questions import Question, score_questions

        questions, sizes = [], []
        for item in self._items:
            by_context: dict[str, list[Ids]] = {}
            for context, text in item.answers:
                by_context.setdefault(context, []).append(self._ids[text])
            questions += [Question(self._contexts[context], tuple(ids)) for context, ids in by_context.items()]
            sizes.append(by_context)
        found = iter(score_questions(self._subject.model, questions))
        nats = [self._in_order(item, {context: iter(next(found)) for context in by_context})
                for item, by_context in zip(self._items, sizes, strict=True)]  # fmt: skip
        self._subject.require_finite((value for each in nats for value in each), name=self._task.name)
        return nats

    def nats_and_greedy(self) -> list[tuple[float, bool]]:
        """Of items with a single answer: its nats, and whether each of its ids is the likeliest.

        Raises:
            RunError: one is not finite.
        """
        from dolma_pipeline.evals.questions import score_continuations

        pairs = [(self._contexts[context], self._ids[text]) for ((context, text),) in (i.answers for i in self._items)]
        found = score_continuations(self._subject.model, pairs)
        self._subject.require_finite((nats for nats, _ in found), name=self._task.name)
        return found

    def neutral_nats(self) -> list[list[float]]:
        """The same after the task's neutral context; each text is scored once."""
        from dolma_pipeline.evals.questions import Question, score_questions

        (neutral,) = self._subject.encode([self._task.config.neutral])
        context = np.concatenate((self._prefix, neutral))
        texts, ids = [*self._ids], [*self._ids.values()]
        step = _UNCONDITIONAL_AT_ONCE
        questions = [Question(context, tuple(ids[start : start + step])) for start in range(0, len(ids), step)]
        values = [value for each in score_questions(self._subject.model, questions) for value in each]
        self._subject.require_finite(values, name=self._task.name)
        alone = dict(zip(texts, values, strict=True))
        return [[alone[text] for _, text in item.answers] for item in self._items]

    @staticmethod
    def _in_order(item: Item, found: dict[str, Iterator[float]]) -> list[float]:
        return [next(found[context]) for context, _ in item.answers]
