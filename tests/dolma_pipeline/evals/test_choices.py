from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.evals.choices import METRICS, rank_answers
from dolma_pipeline.evals.items import choice_items
from dolma_pipeline.evals.tasks import Task
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.evals.scorers import by_rule, subject_of, task_of


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


NATS = {
    ("Q1", "four"): 4.0,
    ("Q1", "twelve chars"): 6.0,
    ("Q2", "é"): 2.0,
    ("Q2", "cd"): 3.0,
    ("Q3", "x"): 1.0,
    ("Q3", "y"): 1.0,
    ("Q3", "z"): 1.0,
    ("Answer:", "four"): 1.0,
    ("Answer:", "twelve chars"): 7.0,
    ("Answer:", "é"): 9.0,
    ("Answer:", "cd"): 1.0,
    ("Answer:", "x"): 1.0,
    ("Answer:", "y"): 1.0,
    ("Answer:", "z"): 2.0,
}
ITEMS = lines(
    {"id": "a", "context": "Q1", "choices": [" four", " twelve chars"], "gold": 1},
    {"id": "b", "context": "Q2", "choices": [" é", " cd"], "gold": 0},
    {"id": "c", "context": "Q3", "choices": [" x", " y", " z"], "gold": 2},
)


def error(rights: list[int]) -> float:
    share = sum(rights) / len(rights)
    return math.sqrt(share * (1 - share) / (len(rights) - 1))


def test_numbers_against_a_count_by_hand(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Item a: 4 nats (4 characters, 1 token) and 6 (12, 2): acc says the first, the rest the second, which is gold.
    Item b: 2 (1 character, 2 bytes) and 3 (2, 2): by characters 2 and 1.5 say the second; gold is the first. Item c:
    all equal, so the first, but that the third gains 1 from the question; gold is the third.
    """
    task = task_of(tmp_path, ITEMS)
    subject = by_rule(model, monkeypatch, lambda context, answer: NATS[context, answer])
    scored = rank_answers(subject, task, choice_items(task))
    bits = [value / math.log(2) for value in (6, 2, 1)]
    sizes = [13, 3, 2]
    whole = sum(bits) / sum(sizes)
    residuals = [y - whole * x for y, x in zip(bits, sizes, strict=True)]
    means = [y / x for y, x in zip(bits, sizes, strict=True)]
    middle = sum(means) / 3
    rights = {"acc": [0, 1, 0], "acc_norm": [1, 0, 0], "acc_per_byte": [1, 1, 0], "acc_per_token": [1, 1, 0]}
    rights["acc_pmi"] = [1, 1, 1]
    assert scored.numbers == {
        "num_items": 3,
        "num_cut": 0,
        "chance": pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3),
        **{name: pytest.approx(sum(right) / 3) for name, right in rights.items()},
        **{f"{name}_stderr": pytest.approx(error(right)) for name, right in rights.items()},
        "gold_bits_per_byte": pytest.approx(whole),
        "gold_bits_per_byte_stderr": pytest.approx(math.sqrt(3 / 2 * sum(e * e for e in residuals)) / sum(sizes)),
        "gold_bits_per_byte_mean": pytest.approx(middle),
        "gold_bits_per_byte_mean_stderr": pytest.approx(math.sqrt(sum((m - middle) ** 2 for m in means) / 2 / 3)),
    }
    assert set(METRICS) <= set(scored.numbers)
    assert [item.row() for item in scored.items][1] == {
        "id": "b",
        "scores": {
            **{name: float(right[1]) for name, right in rights.items()},
            "gold_bits_per_byte": (bits[1], 3.0),
            "gold_bits_per_byte_mean": means[1],
        },
        "nats": [2.0, 3.0],
    }


def test_groups_are_shown_beside_their_mean(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [("x", 0), ("x", 1), ("y", 0), ("y", 0), ("x", 0)]
    items = lines(*({"subject": s, "context": "Q", "choices": [" a", " b"], "gold": gold} for s, gold in rows))
    task = task_of(tmp_path, items, "group: subject\n")
    subject = by_rule(model, monkeypatch, lambda _, answer: 1.0 if answer == "a" else 2.0)
    found = rank_answers(subject, task, choice_items(task)).numbers
    assert found["acc"] == pytest.approx(4 / 5)
    assert found["acc_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["acc_macro_stderr"] == pytest.approx(error([1, 0, 1]) / 2)
    assert found["groups"] == {
        "x": {"num_items": 3, "acc": pytest.approx(2 / 3), "acc_stderr": pytest.approx(error([1, 0, 1]))},
        "y": {"num_items": 2, "acc": 1.0, "acc_stderr": 0.0},
    }


def plain_nats(model: Decoder, prefix: list[int], left: list[int], right: list[int]) -> float:
    sequence = torch.tensor([[*prefix, *left, *right]])
    log_p = model(sequence)[0].log_softmax(-1)
    start = len(prefix) + len(left)
    return -sum(log_p[at - 1, sequence[0, at]].item() for at in range(start, sequence.shape[1]))


@pytest.mark.parametrize("prefix", ["eos", "none"])
def test_nats_are_those_of_a_real_model(model: Decoder, tokenizer: Tokenizer, tmp_path: Path, prefix: str) -> None:
    subject = subject_of(model, tokenizer)
    answers = (" sat on the mat", " that")
    items = lines({"context": "the cat", "choices": answers, "gold": 0})
    task = task_of(tmp_path, items, f"prefix: {prefix}\nneutral: 'the'\n")
    scored = rank_answers(subject, task, choice_items(task))
    before = [0] if prefix == "eos" else []

    def ids(text: str) -> list[int]:
        return subject.encode([text])[0].tolist()

    nats = [plain_nats(model, before, ids("the cat"), ids(answer)) for answer in answers]
    alone = [plain_nats(model, before, ids("the"), ids(answer)) for answer in answers]
    assert scored.items[0].more["nats"] == pytest.approx(nats, rel=1e-5)
    gains = np.array(nats) - alone
    assert scored.numbers["acc_pmi"] == float(gains[0] <= gains[1])
    assert (scored.numbers["acc_stderr"], scored.numbers["num_cut"]) == (None, 0)


def test_contexts_that_do_not_fit_are_counted(model: Decoder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    subject, length = subject_of(model, tokenizer), model.config.sequence_length

    def of(num_tokens: int) -> Task:  # "q" is one id
        items = lines({"context": "q" * num_tokens, "choices": ["x", "y"], "gold": 0})
        return task_of(tmp_path / str(num_tokens), items)

    found = [rank_answers(subject, task, choice_items(task)).numbers for task in (of(length - 1), of(length))]
    assert [one["num_cut"] for one in found] == [0, 1]


def test_what_cannot_be_scored_is_an_error(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subject = by_rule(model, monkeypatch, lambda *_: math.nan)
    task = task_of(tmp_path, lines({"context": "Q", "choices": [" a", "  "], "gold": 0}))
    with pytest.raises(DataError, match=r"task-items\.jsonl:1: the answer '  ' has no tokens"):
        rank_answers(subject, task, choice_items(task))
    task = task_of(tmp_path, lines({"context": "", "choices": [" a", " b"], "gold": 0}), "prefix: none\n")
    with pytest.raises(DataError, match=r"task-items\.jsonl:1: the context has no tokens; that needs `prefix: eos`"):
        rank_answers(subject, task, choice_items(task))
    between = lines({"contexts": ["He", "She"], "choices": ["He", "She"], "continuation": " ran", "gold": 0})
    task = task_of(tmp_path, between, "metric: acc_pmi\n")
    with pytest.raises(
        DataError, match=r"task-items\.jsonl:1: the answers stand in the contexts, so there is no acc_pmi"
    ):
        rank_answers(subject, task, choice_items(task))


def test_numbers_that_are_none_are_refused(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NaN is not smaller than anything, so the first answer would be taken for the likeliest."""
    task = task_of(tmp_path, ITEMS)
    subject = by_rule(model, monkeypatch, lambda context, answer: math.inf if answer == "cd" else NATS[context, answer])
    with pytest.raises(
        RunError, match=r"^step 7, task: 1 of 7 numbers are not finite, though all weights are: the arit"
    ):
        rank_answers(subject, task, choice_items(task))


def test_answers_within_the_context(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    between = lines({"contexts": ["He", "She"], "choices": ["He", "She"], "continuation": " ran", "gold": 1})
    task = task_of(tmp_path, between)
    subject = by_rule(model, monkeypatch, lambda context, _: {"He": 2.0, "She": 1.0}[context])
    found = rank_answers(subject, task, choice_items(task)).numbers
    assert (found["acc"], "acc_pmi" in found) == (1.0, False)
