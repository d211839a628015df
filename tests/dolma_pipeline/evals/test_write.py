from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.write import write, written_items
from tests.dolma_pipeline.evals.scorers import task_of


def echo(
    prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
) -> list[list[str]]:
    assert (max_tokens, [*stop], temperature) == (256, [], 0.7)
    return [[f"{prompt.key}{sample}" * sample for sample in range(samples)] for prompt in prompts]


def test_rows_for_a_judge(tmp_path: Path) -> None:
    items = '{"id": "a", "prompt": "Say it."}\n{"id": "b", "prompt": "Say more."}\n'
    task = task_of(tmp_path, items, "kind: write\nsamples: 2\ntemperature: 0.7\n")
    scored = write(echo, task, written_items(task))
    assert [item.row() for item in scored.items][:2] == [
        {"id": "a", "scores": {"written_chars": 0.0}, "prompt": "Say it.", "text": "", "sample": 0},
        {"id": "a", "scores": {"written_chars": 2.0}, "prompt": "Say it.", "text": "a1", "sample": 1},
    ]
    assert scored.numbers == {
        "num_items": 2, "num_empty": 2, "written_chars": 1.0, "written_chars_stderr": pytest.approx((4 / 3 / 4) ** 0.5),
    }  # fmt: skip


def test_prompts_that_are_filled(tmp_path: Path) -> None:
    items = '{"id": "a", "instruction": "Sing."}\n'
    task = task_of(tmp_path, items, 'kind: write\nprompt: "### {instruction}\\n"\nheader: "Be kind.\\n"\n')
    assert [item.prompt for item in written_items(task)] == [Prompt("a", "Be kind.\n### Sing.\n")]
    with pytest.raises(DataError, match=r'task-items\.jsonl:1: "prompt" is None'):
        written_items(task_of(tmp_path, items, "kind: write\n"))
