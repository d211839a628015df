"""Questions as ids, and how many nats a model needs for each answer.

Every way to score a task comes down to this: a context, and answers of which each is scored after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.evals.score import cut, score, score_greedy
from dolma_pipeline.evals.trees import Window
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import IGNORED

Ids = NDArray[np.int64]


class Question(NamedTuple):
    """context: ids before the answers, a prefix such as EOS included; at least one. answers: ids, each not empty."""

    context: Ids
    answers: tuple[Ids, ...]


def windows_of(context: Ids, answer: Ids, *, length: int) -> list[Window]:
    """What the model reads to score `answer` after `context`; its targets are exactly the answer's ids.

    A context that does not fit is cut at its left; an answer longer than the window is scored in windows that follow
    each other.

    Args:
        context, answer: int64 ids; each has at least one.
        length: of the model's window.
    """
    sequence = np.concatenate((context, answer))
    if len(answer) > length:
        return list(cut(sequence[-len(answer) - 1 :], length=length))
    inputs, targets = sequence[:-1][-length:], sequence[1:][-length:].copy()
    targets[: -len(answer)] = IGNORED
    return [Window(inputs, targets)]


def score_questions(model: LanguageModel, questions: Sequence[Question]) -> list[list[float]]:
    """Nats of every answer, summed over its ids; in the order given."""
    length = model.config.sequence_length
    windows: list[Window] = []
    spans: list[list[slice]] = []
    for question in questions:
        spans.append([])
        for answer in question.answers:
            found = windows_of(question.context, answer, length=length)
            spans[-1].append(slice(len(windows), len(windows) + len(found)))
            windows += found
    nats = score(model, windows)
    return [[math.fsum(nats[span]) for span in each] for each in spans]


def score_continuations(model: LanguageModel, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[float, bool]]:
    """Of each context and what follows it: nats, summed over the ids that follow, and whether each is the likeliest.

    Args:
        pairs: int64 ids; each has at least one.
    """
    length = model.config.sequence_length
    windows = [windows_of(context, answer, length=length) for context, answer in pairs]
    found = iter(score_greedy(model, [window for each in windows for window in each]))
    parts = [[next(found) for _ in each] for each in windows]
    return [(math.fsum(one.nats for one in each), all(one.greedy for one in each)) for each in parts]
