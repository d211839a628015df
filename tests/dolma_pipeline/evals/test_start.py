from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import RunError
from dolma_pipeline.evals import evaluate, launch
from dolma_pipeline.evals.run import Options


def test_another_process_finds_the_same(run: Path) -> None:
    task = run.parent / "cats.jsonl"
    task.write_text('{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n')
    documents = run.parent / "notes.jsonl"
    documents.write_text('{"text": "The cat sat."}\n')
    config = EvalConfig(tasks=(str(task),), documents={"notes": (str(documents),)}, precision="bf16")
    launch(run, steps=[7], config=config, options=Options(limit=2))
    path = run / "eval/bf16-limit-2/step-000007.json"
    theirs = json.loads(path.read_bytes())
    path.unlink()
    ours = evaluate(run, 7, config, Options(limit=2))
    assert (theirs["limit"], theirs["precision"]) == (2, "bf16")
    assert theirs["digests"] == ours["digests"]
    assert theirs["tasks"]["cats"]["gold_bits_per_byte"] == pytest.approx(ours["tasks"]["cats"]["gold_bits_per_byte"])
    for source in ("web", "code"):
        assert theirs["held_out"][source]["nats"] == pytest.approx(ours["held_out"][source]["nats"], rel=1e-6)
    assert theirs["documents"]["notes"]["nats"] == pytest.approx(ours["documents"]["notes"]["nats"], rel=1e-6)
    assert "eval: step 7, web: " in (run / "log/eval.txt").read_text()


def test_what_others_write_into_the_log_meanwhile_is_nothing_of_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may score one run at once; the log is begun anew by each."""
    other = run / "eval/limit-1/step-000007.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"step": 7, "of": "another"}')

    def supervised(*_: object, log: Path, told: Callable[[str], None], **__: object) -> None:
        (run / "mine.json").write_text('{"step": 7, "of": "this"}')
        told(f"eval: wrote {run / 'mine.json'}")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"eval: wrote {run / 'mine.json'}\neval: wrote {other}\n")

    monkeypatch.setattr("dolma_pipeline.evals.start.supervise", supervised)
    assert launch(run, steps=[7], config=EvalConfig()) == {7: {"step": 7, "of": "this"}}


def test_its_error_is_told(run: Path) -> None:
    with pytest.raises(RunError, match=r"^eval: .*no checkpoint of step 3\. There are: 7\."):
        launch(run, steps=[3], config=EvalConfig())
