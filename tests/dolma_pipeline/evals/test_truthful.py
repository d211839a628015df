from __future__ import annotations

import math
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.evals.items import choice_items
from dolma_pipeline.evals.truthful import true_mass
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.evals.scorers import by_rule, task_of

ITEMS = (
    '{"id": "a", "context": "Q1", "choices": [" t", " f", " u"], "labels": [1, 0, 1]}\n'
    '{"id": "b", "context": "Q2", "choices": [" f", " t"], "labels": [0, 1]}\n'
)
NATS = {("Q1", "t"): 1.5, ("Q1", "f"): 0.5, ("Q1", "u"): 2.0, ("Q2", "f"): 2000.0, ("Q2", "t"): 2001.0}


def test_the_share_of_the_true_answers(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Item b is so unlikely that exp(-nats) is 0 for each answer."""
    task = task_of(tmp_path, ITEMS, "kind: mc2\n")
    subject = by_rule(model, monkeypatch, lambda context, answer: NATS[context, answer])
    scored = true_mass(subject, task, choice_items(task))
    p = {key: math.exp(-value) for key, value in NATS.items() if key[0] == "Q1"}
    first = (p["Q1", "t"] + p["Q1", "u"]) / sum(p.values())
    second = math.exp(-1) / (1 + math.exp(-1))
    middle = (first + second) / 2
    assert scored.numbers == {
        "num_items": 2,
        "num_cut": 0,
        "mc2": pytest.approx(middle),
        "mc2_stderr": pytest.approx(math.sqrt(((first - middle) ** 2 + (second - middle) ** 2) / 1 / 2)),
        "chance": pytest.approx((2 / 3 + 1 / 2) / 2),
    }
    assert scored.items[0].row() == {"id": "a", "scores": {"mc2": pytest.approx(first)}, "nats": [1.5, 0.5, 2.0]}


def test_a_model_that_knows_nothing_has_chance(model: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    task = task_of(tmp_path, ITEMS, "kind: mc2\n")
    found = true_mass(by_rule(model, monkeypatch, lambda *_: 3.0), task, choice_items(task)).numbers
    assert found["mc2"] == pytest.approx(found["chance"])
    with pytest.raises(RunError, match=r"^step 7, task: 5 of 5 numbers are not finite"):
        true_mass(by_rule(model, monkeypatch, lambda *_: math.nan), task, choice_items(task))
