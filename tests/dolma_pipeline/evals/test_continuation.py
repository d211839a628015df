from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.evals.continuation import METRICS, continued_items, foresee
from dolma_pipeline.evals.kinds import KINDS
from dolma_pipeline.evals.spread import mean, ratio
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.evals.scorers import subject_of, task_of

ROWS = [
    {"id": "a", "context": "the cat sat on", "continuation": " the mat"},
    {"id": "b", "context": "", "continuation": "Grüße 你好 😀"},
    {"id": "c", "context": "that is " * 20, "continuation": " return"},  # cut at its left
    {"id": "d", "context": "x", "continuation": " and 12345, the cat sat on 67890 and that is 13579."},
    {"id": "e", "context": "<|endof", "continuation": " <|endoftext|>"},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def log_softmax(logits: list[float]) -> list[float]:
    """Of a row, in Python's own numbers."""
    top = max(logits)
    total = math.log(math.fsum(math.exp(value - top) for value in logits)) + top
    return [value - total for value in logits]


def oracle(subject: Subject, context: str, continuation: str) -> tuple[float, bool]:
    """Nats and greedy match as ai2-olmo-eval's scorer defines them, where the continuation fits into the window.

    Its `query` is context and continuation without the last id, cut at its left to the window; logits of its last ids
    are those of the continuation.
    """
    ctx = [subject.eos_id, *subject.encode([context])[0].tolist()]
    cont = subject.encode([continuation])[0].tolist()
    query = (ctx + cont[:-1])[-subject.length :]
    logits = subject.model(torch.tensor([query]))[0].double().tolist()
    rows = [log_softmax(row) for row in logits[len(query) - len(cont) :]]
    greedy = all(row.index(max(row)) == target for row, target in zip(rows, cont, strict=True))
    return -math.fsum(row[target] for row, target in zip(rows, cont, strict=True)), greedy


def test_numbers_are_those_of_olmo_evals_definition(model: Decoder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    subject, task = subject_of(model, tokenizer), task_of(tmp_path, LINES, "kind: continuation\n")
    scored = foresee(subject, task, continued_items(task))
    expected = [oracle(subject, row["context"], row["continuation"]) for row in ROWS if row["id"] != "d"]
    rows = {item.id: item for item in scored.items}
    for row, (nats, greedy) in zip([row for row in ROWS if row["id"] != "d"], expected, strict=True):
        assert rows[row["id"]].more["nats"] == pytest.approx(nats, rel=1e-5)
        assert rows[row["id"]].measures["greedy_match"] == greedy
        bits_per_byte = rows[row["id"]].measures["gold_bits_per_byte_mean"]
        assert bits_per_byte == pytest.approx(nats * math.log2(math.e) / len(row["continuation"].encode()), rel=1e-5)
    means = [item.measures["gold_bits_per_byte_mean"] for item in scored.items]
    pairs = [item.measures["gold_bits_per_byte"] for item in scored.items]
    assert all(isinstance(pair, tuple) for pair in pairs)
    over = ratio([pair[0] for pair in pairs], [pair[1] for pair in pairs])  # type: ignore[index]
    assert (scored.numbers["num_items"], scored.numbers["num_cut"]) == (5, 2)
    assert scored.numbers["gold_bits_per_byte_mean"] == math.fsum(means) / 5  # type: ignore[arg-type]
    assert scored.numbers["gold_bits_per_byte_mean_stderr"] == mean(means).error  # type: ignore[arg-type]
    assert (scored.numbers["gold_bits_per_byte"], scored.numbers["gold_bits_per_byte_stderr"]) == over


def test_a_continuation_longer_than_the_window_is_scored_whole(
    model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    subject = subject_of(model, tokenizer)
    row = ROWS[3]
    ids = subject.encode([row["continuation"]])[0].tolist()
    assert len(ids) > subject.length
    task = task_of(tmp_path, json.dumps(row) + "\n", "kind: continuation\n")
    (item,) = foresee(subject, task, continued_items(task)).items
    whole, nats = [*subject.encode([row["context"]])[0].tolist()[-1:], *ids], 0.0
    for start in range(0, len(ids), subject.length):
        window = whole[start : start + subject.length]
        logits = subject.model(torch.tensor([window]))[0].double().tolist()
        targets = whole[start + 1 : start + 1 + len(window)]
        nats -= math.fsum(log_softmax(line)[target] for line, target in zip(logits, targets, strict=False))
    assert item.more["nats"] == pytest.approx(nats, rel=1e-5)


def test_what_the_model_would_write_matches(model: Decoder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The likeliest three ids after each context, written one after the other; and the same with another last one."""
    subject, rows = subject_of(model, tokenizer), []
    for context in ("the cat", "return 1", "mat that"):
        ids = [subject.eos_id, *subject.encode([context])[0].tolist()]
        for _ in range(3):
            ids.append(int(subject.model(torch.tensor([ids]))[0, -1].argmax()))
        text = subject.decode(ids[-3:])
        again = subject.encode([text])[0].tolist() == ids[-3:]
        if again and "�" not in text:
            rows += [{"context": context, "continuation": text}, {"context": context, "continuation": text + "q"}]
    assert len(rows) >= 2
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    task = task_of(tmp_path, lines, "kind: continuation\nmetric: greedy_match\n")
    numbers = foresee(subject, task, continued_items(task)).numbers
    assert numbers["greedy_match"] == 0.5
    assert numbers["greedy_match_stderr"] > 0


def test_examples_prompts_and_groups(tmp_path: Path) -> None:
    rows = [{"id": n, "q": f"{n}?", "of": "x", "continuation": f" {n}."} for n in ("1", "2", "3")]
    config = 'kind: continuation\nprompt: "Q: {q}"\nheader: "Go.\\n"\nshots: 1\nexamples: task-items.jsonl\n'
    config += 'separator: "\\n"\ngroup: of\n'
    task = task_of(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), config)
    items = continued_items(task)
    assert [item.answers for item in items[:2]] == [
        (("Go.\nQ: 2? 2.\nQ: 1?", " 1."),),
        (("Go.\nQ: 1? 1.\nQ: 2?", " 2."),),
    ]
    assert {item.group for item in items} == {"x"}
    assert KINDS["continuation"].metrics == METRICS


@pytest.mark.parametrize(
    ("row", "config", "error", "words"),
    [
        ({"context": "a"}, "", DataError, 'items.jsonl:1: "continuation" is None; it must be a text that is not empty'),
        ({"context": "a", "continuation": ""}, "", DataError, "\"continuation\" is ''"),
        ({"continuation": "a"}, "", DataError, '"context" is None; it must be a text'),
        ({"continuation": "a"}, 'prompt: "{q}"\n', DataError, 'the prompt asks for "q"'),
        ({}, "neutral: A\n", ConfigError, "neutral: has no effect on a task of kind continuation"),
        ({}, "answer: '{choice}'\n", ConfigError, "answer: has no effect on a task of kind continuation"),
        ({}, "metric: acc\n", ConfigError, "no metric named 'acc'"),
    ],
)
def test_what_is_wrong(tmp_path: Path, row: dict[str, str], config: str, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        continued_items(task_of(tmp_path, json.dumps(row) + "\n", f"kind: continuation\n{config}"))
    assert words in str(caught.value)
