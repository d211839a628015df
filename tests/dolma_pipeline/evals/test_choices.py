from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals import questions
from dolma_pipeline.evals.choices import rank_answers
from dolma_pipeline.evals.tasks import Item
from dolma_pipeline.evals.trees import Window
from dolma_pipeline.train.model import Decoder


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_numbers_against_a_count_by_hand(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nats: item 1: 4 (4 characters) and 6 (12): acc says the first, acc_norm (1 and 0.5) the second, which is gold.
    Item 2: 2 and 3 (2 characters each): both say the first, which is gold. Item 3: all equal: the first; gold is 2.
    """
    items = [
        Item("t:1", (("Q", " four"), ("Q", " twelve chars")), 1),
        Item("t:2", (("Q", " ab"), ("Q", " cd")), 0),
        Item("t:3", (("A", " x"), ("B", " x"), ("C", " x")), 2),
    ]
    given = [4.0, 6.0, 2.0, 3.0, 1.0, 1.0, 1.0]

    def fixed(_: Decoder, windows: Sequence[Window]) -> list[float]:
        assert len(windows) == len(given)
        return given

    monkeypatch.setattr(questions, "score", fixed)
    found = rank_answers(model, items, eos_id=0, encode=lambda texts: [ids(1)] * len(texts))
    assert found == {
        "num_items": 3,
        "num_cut": 0,
        "acc": pytest.approx(1 / 3),
        "acc_stderr": pytest.approx(math.sqrt(1 / 3 * 2 / 3 / 2)),
        "acc_norm": pytest.approx(2 / 3),
        "acc_norm_stderr": pytest.approx(math.sqrt(2 / 3 * 1 / 3 / 2)),
        "chance": pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3),
        "gold_bits_per_byte": pytest.approx((6 + 2 + 1) / math.log(2) / (13 + 3 + 2)),
    }


def test_the_likeliest_answer_is_found_with_a_real_model(model: Decoder, tokenizer: Tokenizer) -> None:
    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [ids(*tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]

    context, answers = "the cat", (" sat on the mat", " that", " xyz" * 20)
    nats = []
    for answer in answers[:2]:
        left, right = encode([context, answer])
        sequence = torch.tensor([[0, *left.tolist(), *right.tolist()]])
        log_p = model(sequence)[0].log_softmax(-1)
        places = range(len(left), len(left) + len(right))
        nats.append(-sum(log_p[place, sequence[0, place + 1]].item() for place in places))
    gold = int(np.argmin(nats))
    item = Item("t:1", tuple((context, answer) for answer in answers[:2]), gold)
    found = rank_answers(model, [item], eos_id=0, encode=encode)
    assert (found["acc"], found["acc_stderr"], found["num_cut"]) == (1.0, None, 0)
    num_bytes = len(answers[gold].encode())
    assert found["gold_bits_per_byte"] == pytest.approx(nats[gold] / math.log(2) / num_bytes, rel=1e-5)
    long = Item("t:2", tuple((context, answer) for answer in answers), 0)
    assert rank_answers(model, [item, long], eos_id=0, encode=encode)["num_cut"] == 1


def test_an_answer_without_tokens_is_an_error(model: Decoder) -> None:
    item = Item("task.jsonl:4", (("Q", " a"), ("Q", "\u200b")), 0)
    with pytest.raises(DataError, match=r"task\.jsonl:4: the answer ' a' has no tokens"):
        rank_answers(model, [item], eos_id=0, encode=lambda texts: [ids()] * len(texts))
