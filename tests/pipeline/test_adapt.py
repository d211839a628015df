"""From documents to a model that answers and prefers: train, sft and dpo of one recipe, and a recipe of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import ConfigError, SettingsChangedError, UsageError
from dolma_pipeline.runner import run
from tests.pipeline.tiny import recipe

pytest.importorskip("torch", reason="training needs torch")

TRAIN = {
    "train": {"sequence_length": 32, "batch_tokens": 128, "max_tokens": 640, "warmup_steps": 1, "processes": 1},
}
SFT = {"sequence_length": 64, "batch_tokens": 128, "epochs": 4, "lr": 0.003, "processes": 1, "save_every_steps": 3}
DPO = {"sequence_length": 64, "batch_tokens": 256, "epochs": 6, "lr": 0.0005, "processes": 1, "save_every_steps": 5}


def write_chat(folder: Path) -> dict[str, Any]:
    """Dialogues and pairs; the sections that read them."""
    words = ["river", "stone", "winter", "letter", "garden", "market", "silver", "window"]
    said = [{"prompt": word, "response": word.upper()} for word in words] * 2
    liked = [{"prompt": word, "chosen": word.upper(), "rejected": word[::-1]} for word in words]
    for name, rows in (("chat", said), ("pairs", liked)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"sft": {"data": "chat.jsonl", **SFT}, "dpo": {"data": "pairs.jsonl", **DPO}}


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "train/metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_one_recipe_from_documents_to_preferences(here: Path, tmp_path: Path) -> None:
    sections = write_chat(here)
    whole = recipe(tmp_path / "run", **TRAIN, **sections)
    run(whole, quiet=True)
    folder = tmp_path / "run"
    asked = rows(folder / "sft")
    assert asked[-1]["loss"] < asked[0]["loss"] - 0.3
    preferred = rows(folder / "dpo")
    assert preferred[0]["reward_margin"] == pytest.approx(0, abs=1e-4)
    assert preferred[-1]["reward_margin"] > 0.02
    assert preferred[-1]["kl"] > 0
    configs = [json.loads((folder / stage / "train/config.json").read_text()) for stage in ("", "sft", "dpo")]
    assert [config.get("objective") for config in configs] == [None, "sft", "dpo"]
    assert [config.get("init", {}).get("inside") for config in configs] == [None, "", "sft"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.distcp")}
    run(whole, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.distcp")} == before

    with pytest.raises(SettingsChangedError, match=r"dpo\.beta: .* -> 0\.2"):
        run(recipe(folder, **TRAIN, **sections, dpo__beta=0.2), stages=("dpo",), quiet=True)

    # Another run starts from a checkpoint of this one, and goes on where the last one stopped.
    own = {**TRAIN, "train__init_from": f"{folder}@5", "tokenizer": {"load": f"{folder}/tokenizer/tokenizer.json"}}
    run(recipe(tmp_path / "next", **own, train__max_tokens=256), quiet=True)
    assert len(rows(tmp_path / "next")) == 2
    with pytest.raises(UsageError, match=r"train\.init_from: the weights of .*@5 are of another shape"):
        run(recipe(tmp_path / "other", **own, train__model="20m"), dry_run=True)
    longer = {**own, "train__extend": True, "train__max_tokens": 896}
    run(recipe(tmp_path / "longer", **longer), quiet=True)
    assert [row["step"] for row in rows(tmp_path / "longer")] == [6, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sft": {"data": "chat.jsonl"}}, r"sft: has nothing to start from; add `train`, or write sft\.init_from"),
        ({"dpo": {"data": "pairs.jsonl"}}, r"dpo: has nothing to start from; add `sft` or `train`, or write"),
        ({**TRAIN, "sft": {"data": "no.jsonl"}}, r"sft.*no\.jsonl"),
        ({**TRAIN, "sft": {"data": "chat.jsonl", "init_from": "nowhere"}}, r"sft\.init_from: nowhere: no such folder"),
        ({**TRAIN, "sft": {"data": "chat.jsonl", "model": "tiny"}}, r"sft\.model: no key named 'model'"),
        ({**TRAIN, "train__init_from": "nowhere@3"}, r"train\.init_from: nowhere: no such folder"),
        ({**TRAIN, "train__extend": True}, r"train\.extend: there is nothing to go on from"),
        (
            {**TRAIN, "dpo": {"data": "pairs.jsonl", "sequence_length": 64, "batch_tokens": 64}},
            r"dpo\.batch_tokens: 64 is not a multiple of twice dpo\.sequence_length \(a pair is two\); 128 would be",
        ),
        (
            {**TRAIN, "sft": {"data": "chat.jsonl", "template": {"user": "Q: "}}},
            r"sft\.template\.user: found 'Q: '; it must have \{content\} in it, once",
        ),
        (
            {**TRAIN, "train__stages": [{"name": "a", "tokens": "tokens_small", "max_tokens": 640}]},
            r"train\.stages\.0\.tokens: no section of tokens named 'tokens_small'",
        ),
        (
            {**TRAIN, "train__stages": [{"name": "a", "max_tokens": 600}]},
            r"train\.max_tokens: the stages have 600 together; leave it out, or write that",
        ),
        (
            {**TRAIN, "train__checkpoints": 3, "train__save_every_steps": 2},
            r"train\.save_every_steps: has no effect beside train\.checkpoints",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(here: Path, changes: dict[str, Any], message: str) -> None:
    write_chat(here)
    with pytest.raises((UsageError, ConfigError), match=message):
        run(recipe("run", **changes), dry_run=True)
    assert not (here / "run").exists()
