from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from dolma_pipeline.errors import DataError, RunError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.train.hugging_face.read import read_hf
from dolma_pipeline.train.hugging_face.start import export, place_for
from dolma_pipeline.train.presets import ModelConfig
from tests.saved_models import STEP, random_model, saved_run

Shape = Callable[..., ModelConfig]


def run_of(folder: Path, config: ModelConfig) -> Path:
    run = saved_run(folder, random_model(config), eos_id=3)
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(60)}, unk_token="w0"))
    paths.write_bytes(run / "tokenizer/tokenizer.json", tokenizer.to_str().encode())
    return run


def test_a_folder_is_whole_or_not_there(tmp_path: Path, shape: Shape) -> None:
    run = run_of(tmp_path / "run", shape())
    output = tmp_path / "models" / "mine"
    content = export(run, output, folder=run_folder(str(run)), step=STEP, dtype="bf16")
    assert content["architectures"] == ["OlmoForCausalLM"]
    assert sorted(path.name for path in output.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((output / "config.json").read_bytes()) == content
    assert json.loads((output / "generation_config.json").read_bytes()) == {"eos_token_id": 3, "pad_token_id": 3}
    _, weights = read_hf(output)
    assert torch.equal(weights["head.weight"][:60], random_model(shape()).head.weight[:60].bfloat16().float())
    assert [path.name for path in output.parent.iterdir()] == ["mine"]


def test_nothing_appears_where_it_fails(tmp_path: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: Sequence[str], **_: object) -> None:
        (Path(arguments[4]) / "model.safetensors").touch()
        raise RunError("export: the disk is full")

    monkeypatch.setattr("dolma_pipeline.train.hugging_face.start.supervise", fail)
    run = run_of(tmp_path / "run", shape())
    with pytest.raises(RunError, match="the disk is full"):
        export(run, tmp_path / "out" / "model", folder=run_folder(str(run)), step=STEP)
    assert not [*(tmp_path / "out").iterdir()]


def test_mistakes_are_found_before_torch_is_started(
    tmp_path: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolma_pipeline.train.hugging_face.start.supervise", None)
    run = run_of(tmp_path / "run", shape(norm="layer_norm"))
    with pytest.raises(UsageError, match="none has LayerNorm with weight and bias"):
        export(run, tmp_path / "out" / "model", folder=run_folder(str(run)), step=STEP)
    (run / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json: no such file"):
        export(run, tmp_path / "out" / "model", folder=run_folder(str(run)), step=STEP, form="safetensors")
    assert not [*(tmp_path / "out").iterdir()]


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    assert place_for("empty") == tmp_path / "empty"
    assert place_for("a/b") == tmp_path / "a/b"
    with pytest.raises(UsageError, match="full: has files in it already"):
        place_for("full")
    with pytest.raises(UsageError, match="full/x is a file"):
        place_for("full/x")
    with pytest.raises(UsageError, match=r"s3://a/b: a model is exported to this machine's disk; give --output a path"):
        place_for("s3://a/b")
