from __future__ import annotations

from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import RunError
from dolma_pipeline.evals import evaluate, launch


def test_another_process_finds_the_same(run: Path) -> None:
    task = run.parent / "cats.jsonl"
    task.write_text('{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n')
    config = EvalConfig(tasks=(str(task),))
    theirs = launch(run, step=7, config=config)
    ours = evaluate(run, 7, config)
    assert theirs["digests"] == ours["digests"]
    assert theirs["tasks"]["cats"]["gold_bits_per_byte"] == pytest.approx(ours["tasks"]["cats"]["gold_bits_per_byte"])
    for source in ("web", "code"):
        assert theirs["held_out"][source]["nats"] == pytest.approx(ours["held_out"][source]["nats"], rel=1e-6)
    assert "eval: step 7, web: " in (run / "log/eval.txt").read_text()


def test_its_error_is_told(run: Path) -> None:
    with pytest.raises(RunError, match=r"^eval: .*no checkpoint of step 3\. There are: 7\."):
        launch(run, step=3, config=EvalConfig(held_out=False))
