"""Subjects of tests: nats that are given, and a plain model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from dolma_pipeline.evals import questions
from dolma_pipeline.evals.questions import Question
from dolma_pipeline.evals.subject import Ids, Subject
from dolma_pipeline.evals.tasks import Task, read_task
from dolma_pipeline.train.model import Decoder

Nats = Callable[[str, str], float]


def subject_of(model: Decoder, tokenizer: Tokenizer) -> Subject:
    """A model with a tokenizer whose special tokens are text."""

    def encode(texts: Sequence[str]) -> list[Ids]:
        return [np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64) for text in texts]

    def decode(ids: Iterable[int]) -> str:
        return str(tokenizer.decode([int(i) for i in ids], skip_special_tokens=False))

    return Subject(model=model, eos_id=0, encode=encode, decode=decode, step=7)


def by_rule(model: Decoder, monkeypatch: pytest.MonkeyPatch, nats: Nats) -> Subject:
    """Every answer has the nats that `nats(context, answer)` says; a text has an id for each of its words."""
    words: dict[int, str] = {}

    def encode(texts: Sequence[str]) -> list[Ids]:
        found = []
        for text in texts:
            ids = [zlib.crc32(word.encode()) + 1 for word in text.split(" ") if word]
            words.update(zip(ids, [word for word in text.split(" ") if word], strict=True))
            found.append(np.array(ids, np.int64))
        return found

    def text_of(ids: Ids) -> str:
        return " ".join(words[i] for i in ids.tolist() if i)

    def score(_: Decoder, asked: Sequence[Question]) -> list[list[float]]:
        return [[nats(text_of(one.context), text_of(answer)) for answer in one.answers] for one in asked]

    monkeypatch.setattr(questions, "score_questions", score)
    return Subject(model=model, eos_id=0, encode=encode, decode=text_of, step=7)


def task_of(folder: Path, items: str, config: str = "", *, name: str = "task") -> Task:
    """A task of these items, with these lines of a task file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-items.jsonl").write_text(items)
    path = folder / f"{name}.yaml"
    path.write_text(f"items: {name}-items.jsonl\n{config}")
    return read_task(path)
