from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals import evaluate

TASK = '{"id": "a", "context": "The cat sat", "choices": [" on the mat", " return"], "gold": 0}\n'


def test_results_are_whole_and_the_same_each_time(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task = run.parent / "cats.jsonl"
    task.write_text(TASK * 3)
    found = evaluate(run, 7, EvalConfig(tasks=(str(task),)))
    path = run / "eval/step-000007.json"
    content = path.read_bytes()
    assert json.loads(content) == found
    assert (found["step"], found["tokens"]) == (7, 7 * 96)
    assert found["digests"]["train_data"] == "sha256:train"
    assert all(value.startswith("sha256:") for value in found["digests"].values())
    assert list(found["held_out"]) == ["code", "web"]
    assert set(found["held_out"]["web"]) == {
        "num_documents", "num_tokens", "num_bytes", "nats", "nats_per_token", "bits_per_byte", "data",
    }  # fmt: skip
    assert found["held_out"]["code"]["num_bytes"] == 27 + 36  # the text `<|endoftext|>` is text
    assert found["tasks"]["cats"]["num_items"] == 3
    path.unlink()
    evaluate(run, 7, EvalConfig(tasks=(str(task),)))
    assert path.read_bytes() == content
    assert "eval: step 7, web: " in capfd.readouterr().err


def test_without_held_out_documents(run: Path) -> None:
    shutil.rmtree(run / "tokens/held_out")
    with pytest.raises(UsageError, match=r"eval\.held_out is true, but .* has no documents.*eval\.held_out: false"):
        evaluate(run, 7, EvalConfig())
    assert evaluate(run, 7, EvalConfig(held_out=False))["held_out"] == {}


def test_held_out_documents_that_are_lost_are_not_left_out(run: Path) -> None:
    """The list of the run says of which sources there are some, not what lies in the folder."""
    shards = [f"held_out/{source}/part-00000" for source in ("code", "web")]
    records = [{"shard": shard, "outputs": [{"path": f"{shard}.npy"}]} for shard in shards]
    (run / "tokens/shards.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert list(evaluate(run, 7, EvalConfig())["held_out"]) == ["code", "web"]
    shutil.rmtree(run / "tokens/held_out/web")
    with pytest.raises(DataError, match=r"tokens/held_out/web: no part-\*\.npy \(there is no such folder\)"):
        evaluate(run, 7, EvalConfig())


def test_mistakes_are_found_before_work(run: Path) -> None:
    (run / "a").mkdir()
    for name in ("task.jsonl", "a/task.jsonl"):
        (run / name).write_text(TASK)
    with pytest.raises(UsageError, match="have the same name; rename one of them"):
        evaluate(run, 7, EvalConfig(tasks=(str(run / "task.jsonl"), str(run / "a/task.jsonl"))))
    (run / "task.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"task\.jsonl:1: "):
        evaluate(run, 99, EvalConfig(tasks=(str(run / "task.jsonl"),)))
    assert not (run / "eval").exists()


def test_real_tasks(run: Path, data: Path, tmp_path: Path) -> None:
    tasks = []
    for name in ("arc_easy", "winogrande", "boolq"):
        lines = (data / "eval" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)[:20]
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines))
        tasks.append(str(tmp_path / f"{name}.jsonl"))
    found = evaluate(run, 7, EvalConfig(held_out=False, tasks=tuple(tasks)))["tasks"]
    assert {name: (row["num_items"], row["chance"]) for name, row in found.items()} == {
        "arc_easy": (20, 0.25),
        "winogrande": (20, 0.5),
        "boolq": (20, 0.5),
    }
    for row in found.values():
        assert 0 <= row["acc"] <= 1
        assert row["acc_stderr"] < 0.12
        assert 1 < row["gold_bits_per_byte"] < 40
    assert found["boolq"]["num_cut"] == 20  # passages are longer than 24 tokens
