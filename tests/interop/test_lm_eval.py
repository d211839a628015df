"""lm-eval's tasks of every output type, from local files: our adapter answers as its own Hugging Face model does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dolma_pipeline
from tests.dolma_pipeline.evals.conftest import model, run, tokenizer

__all__ = ["model", "run", "tokenizer"]  # fixtures

pytestmark = pytest.mark.interop

QUESTIONS = [
    {"q": "The cat sat", "choices": ["on the mat", "return", "that"], "gold": 0},
    {"q": "the mat and that is that " * 5, "choices": ["the", "cat"], "gold": 1},
    {"q": "x ", "choices": ["on the mat " * 3, "y"], "gold": 1},
]
TASKS: dict[str, dict[str, Any]] = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "last_word": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{q}}",
        "doc_to_target": " {{choices[gold]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "whole": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{q}} {{choices[0]}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{choices[gold]}}",
        "generation_kwargs": {"until": ["t"], "max_gen_toks": 8, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    },
}


def numbers(answers: Any) -> list[float]:
    """All log-likelihoods in what lm-eval lists of a sample, and whether each was greedy, as 0 or 1."""
    if isinstance(answers, list):
        return [number for answer in answers for number in numbers(answer)]
    return [float({"True": 1, "False": 0}.get(answers, answers))]


def test_all_kinds_of_requests(run: Path, python: str, tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, task in TASKS.items():
        given = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(items)}}, "test_split": "test"}
        (folder / f"{name}.yaml").write_text(json.dumps({"task": name, **given, **task}))
    asked = {"run": str(run), "step": 7, "tasks": str(folder), "names": [*TASKS]}
    asked["path"] = [str(Path(dolma_pipeline.__file__).parents[1]), *(path for path in sys.path if path)]
    done = subprocess.run(
        [python, str(Path(__file__).with_name("with_lm_eval.py")), json.dumps(asked)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [len(found["ours"][name]) for name in TASKS] == [3, 3, 3, 3]
    for name in ("choices", "last_word", "whole"):
        ours, theirs = numbers(found["ours"][name]), numbers(found["theirs"][name])
        assert len(ours) >= 3
        assert ours == pytest.approx(theirs, rel=1e-5), name
    assert found["ours"]["written"] == found["theirs"]["written"]
    assert len({str(texts) for texts in found["ours"]["written"]}) == 3
