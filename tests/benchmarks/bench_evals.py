"""Rank classification beside lm-evaluation-harness' Hugging Face model, on the same weights and items."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import environments
from rows import Row
from samples import Text, tokenizer

SHAPES = ("tiny", "20m")
SIZES = {"arc_easy": (25, 4), "hellaswag": (45, 25)}
"""Task -> words of a question and of an answer, where items are made."""
NUM_ITEMS, TIMES = 100, 3
AT_LEAST = {("hellaswag", "20m"): 2.0}
"""Of long answers little is shared: half as many ids are read, and with a deep model those are nearly all the work."""


def choices(work: Path, texts: Sequence[Text], peers: Path) -> Iterator[Row]:
    """Items of short and of long answers, by two shapes."""
    theirs = environments.install("lm_eval", peers)
    words = tokenizer(work / "evals-tokenizer.json", texts)
    for task in SIZES:
        path = work / f"evals-{task}.jsonl"
        path.write_text("".join(f"{line}\n" for line in islice(items(task, texts), NUM_ITEMS)), encoding="utf-8")
        for shape in SHAPES:
            arguments = (shape, words, path, TIMES)
            ours = environments.measure("score_once.py", "ours", *arguments)
            peer = environments.measure("score_once.py", "lm_eval", *arguments, python=theirs)
            yield Row(
                name=f"{task}_{shape}",
                text_mb=path.stat().st_size / 1e6,
                ours=ours["items"] / ours["cpu_s"],
                peer=peer["items"] / peer["cpu_s"],
                peer_name=f"{environments.PEERS['lm_eval']}, Hugging Face model, batch 16",
                unit="items per CPU-second",
                at_least=AT_LEAST.get((task, shape), 3.0),
                holds=ours["choices"] == peer["choices"],
                more={"most_difference": most_difference(ours["nats"], peer["nats"])},
            )


def items(task: str, texts: Sequence[Text]) -> Iterator[str]:
    """Lines of the task's file below $DOLMA_PIPELINE_DATA, else made of texts."""
    folder = os.environ.get("DOLMA_PIPELINE_DATA")
    if folder:
        yield from (Path(folder) / "eval" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
        return
    question, answer = SIZES[task]
    for text in texts:
        words = text.text.split()
        if len(words) >= question + 4 * answer:
            parts = [words[question + i * answer :][:answer] for i in range(4)]
            yield json.dumps({"context": " ".join(words[:question]), "choices": [f" {' '.join(p)}" for p in parts]})


def most_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """The largest difference of two scores of one answer, in nats."""
    return max(abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))
