"""Rank classification without examples: of the answers to a question, the model's is the one it finds likeliest.

Of each answer the log-probability of its tokens after EOS and the context is summed. `acc` takes the largest sum,
`acc_norm` the largest sum for each character (a leading space not counted), as in lm-evaluation-harness and OLMo's
evaluation; among equals the first. `gold_bits_per_byte` is smoother for small models: bits that the right answers need
over their bytes. Context and answer are encoded apart, so the answer's tokens do not depend on its context. A context
that does not fit is cut at its left; an answer longer than the window is scored in windows that follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.questions import Question, score_questions
from dolma_pipeline.evals.tasks import Item
from dolma_pipeline.train.language_model import LanguageModel

Ids = NDArray[np.int64]
Encode = Callable[[Sequence[str]], list[Ids]]


def rank_answers(
    model: LanguageModel, items: Sequence[Item], *, eos_id: int, encode: Encode
) -> dict[str, int | float | None]:
    """The numbers of one task.

    Args:
        items: at least one.
        encode: texts -> their ids.

    Returns:
        num_items, num_cut (items with a context that did not fit), acc, acc_norm, their standard errors (None for a
        single item), chance (of a blind guess), gold_bits_per_byte.

    Raises:
        DataError: an answer of which the tokenizer makes no tokens; names file and line.
    """
    length = model.config.sequence_length
    pairs = [(item, context, answer) for item in items for context, answer in item.answers]
    contexts, answers = encode([context for _, context, _ in pairs]), encode([answer for _, _, answer in pairs])
    questions = []
    cut_places = set()
    for (item, _, text), context_ids, answer_ids in zip(pairs, contexts, answers, strict=True):
        if not len(answer_ids):
            raise DataError(f"{item.place}: the answer {text!r} has no tokens, so it cannot be scored.")
        if len(context_ids) + len(answer_ids) > length:
            cut_places.add(item.place)
        questions.append(Question(np.concatenate(([eos_id], context_ids)), (answer_ids,)))
    nats = iter([each for (each,) in score_questions(model, questions)])

    right, right_norm, gold_nats, gold_bytes = [], [], [], 0
    for item in items:
        item_nats = [next(nats) for _ in item.answers]
        per_char = [value / _num_chars(text) for value, (_, text) in zip(item_nats, item.answers, strict=True)]
        right.append(item_nats.index(min(item_nats)) == item.gold)
        right_norm.append(per_char.index(min(per_char)) == item.gold)
        gold_nats.append(item_nats[item.gold])
        gold_bytes += len(item.answers[item.gold][1].encode("utf-8"))
    return {
        "num_items": len(items),
        "num_cut": len(cut_places),
        "acc": sum(right) / len(items),
        "acc_stderr": _standard_error(right),
        "acc_norm": sum(right_norm) / len(items),
        "acc_norm_stderr": _standard_error(right_norm),
        "chance": math.fsum(1 / len(item.answers) for item in items) / len(items),
        "gold_bits_per_byte": math.fsum(gold_nats) / math.log(2) / gold_bytes,
    }


def _num_chars(answer: str) -> int:
    return max(1, len(answer.removeprefix(" ")))


def _standard_error(right: Sequence[bool]) -> float | None:
    """Of a share: the sample's standard deviation over the root of its size."""
    if len(right) < 2:
        return None
    share = sum(right) / len(right)
    return math.sqrt(share * (1 - share) / (len(right) - 1))
