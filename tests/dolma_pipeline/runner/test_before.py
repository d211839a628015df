"""Budgets out of reach are told before a run, with numbers; never one that the run then meets."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.before import budget_warnings
from dolma_pipeline.runner.inputs import plan_inputs
from tests.dolma_pipeline.stages.small import made, small_run

LETTERS = {"web/a": ["a"] * 100}
REPLACE = [{"spans": "pii_v1.email", "with": " |||EMAIL_ADDRESS||| "}]


def tokenizer(folder: Path, normalizer: Any = None) -> dict[str, Any]:
    """A token a byte, and EOS."""
    ids = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    one = Tokenizer(models.BPE(ids, []))
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if normalizer is not None:
        one.normalizer = normalizer
    one.add_special_tokens(["<|endoftext|>"])
    one.save(str(folder / "tokenizer.json"))
    return {"load": str(folder / "tokenizer.json")}


def told(run: Run, *, index: bool = True) -> list[str]:
    inputs = plan_inputs(run.recipe, run.folder, redo=False)
    return budget_warnings(run, inputs, {"mix"} if index else {"index", "mix"})


@pytest.mark.parametrize(
    ("mix", "most"),
    [
        ({"target_tokens": 200}, None),
        ({"target_tokens": 201}, "200 tokens can come of 100 documents with 100 bytes of text: give more doc"),
        ({"target_bytes": 100}, None),
        ({"target_bytes": 101}, "100 bytes can come of"),
        ({"target_documents": 100}, None),
        ({"target_documents": 101}, "100 documents can come of"),
        ({"target_tokens": 501, "max_epochs": 2.5}, "500 tokens can come of 100 documents with 100 bytes of text in "),
        ({"target_tokens": 500, "max_epochs": 2.5}, None),
        ({"target_tokens": 10**9, "replace": REPLACE}, None),
        ({"target_tokens": 201, "replace": [{"spans": "pii_v1.email", "with": ""}]}, "200 tokens can come of"),
        ({"target_bytes": 101, "replace": REPLACE}, "100 bytes can come of"),
        ({}, None),
    ],
)
def test_what_the_index_counted(tmp_path: Path, mix: dict[str, Any], most: str | None) -> None:
    tag = {"taggers": ["pii_v1"]}
    run = made(tmp_path, LETTERS, until="scan", tag=tag, mix=mix, tokenizer=tokenizer(tmp_path))
    found = told(run)
    assert len(found) == (most is not None)
    if most is not None:
        unit = next(key for key in mix if key.startswith("target"))
        assert found[0].startswith(f"mix.{unit} is {mix[unit]:,}, but at most {most}")


def test_the_budget_that_is_not_told_is_met(tmp_path: Path) -> None:
    run = made(tmp_path, LETTERS, mix={"target_tokens": 190}, tokenizer=tokenizer(tmp_path))
    plan = json.loads(run.folder.read("mix/plan.json"))["sources"]["web"]
    assert (plan["tokens"], told(run)) == (190, [])


def test_a_tokenizer_that_lengthens_text(tmp_path: Path) -> None:
    mix = {"target_tokens": 10**6}
    for normalizer, known in ((normalizers.NFC(), True), (normalizers.NFKC(), False)):
        run = made(tmp_path, LETTERS, until="scan", mix=mix, tokenizer=tokenizer(tmp_path, normalizer))
        assert [("at most 400 tokens" in text) for text in told(run)] == [True] * known


@pytest.mark.parametrize("unit", ["tokens", "bytes", "documents"])
def test_before_there_is_an_index_the_size_of_plain_lines_is_the_bound(tmp_path: Path, unit: str) -> None:
    settings = {"mix": {f"target_{unit}": 10**6}, "tokenizer": tokenizer(tmp_path)}
    run = small_run(tmp_path, LETTERS, **settings)
    size = (tmp_path / "in/web/a.jsonl").stat().st_size
    (found,) = told(run, index=False)
    assert found.startswith(
        f"mix.target_{unit} is 1,000,000, but at most {size:,} {unit} can come of {size:,} bytes of "
    )
    assert told(small_run(tmp_path, LETTERS, **{**settings, "mix": {f"target_{unit}": size}}), index=False) == []
    assert told(small_run(tmp_path, LETTERS, **settings, normalize=["nfc"]), index=False) == []


def test_what_is_compressed_may_hold_anything(tmp_path: Path) -> None:
    """A million letters in a file of 1,000 bytes, whatever its name says."""
    line = json.dumps({"id": "x", "text": "a" * 10**6}).encode()
    settings = {"mix": {"target_bytes": 10**6}}
    run = small_run(tmp_path, {"web/a": ["a"]}, **settings)
    assert len(told(run, index=False)) == 1
    (tmp_path / "in/web/a.jsonl").write_bytes(gzip.compress(line))
    run = made(tmp_path / "other", {"web/a": ["a"]}, until="scan", **settings)
    (tmp_path / "other/in/web/b.jsonl").write_bytes(gzip.compress(line))
    assert told(run, index=False) == []
