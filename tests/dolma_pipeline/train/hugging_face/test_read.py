from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dolma_pipeline.train.hugging_face.read import read_hf
from dolma_pipeline.train.hugging_face.shape import Form
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig

Shape = Callable[..., ModelConfig]
RandomModel = Callable[..., Decoder]
SavedRun = Callable[..., Path]

LLAMA = {"norm": "rms_norm", "norm_eps": 1e-6, "num_kv_heads": 2, "rope_theta": 500_000.0}
CRYSTAL = {
    "norm": "layer_norm", "biases": True, "rope_fraction": 0.5, "rope_interleaved": True, "tied": True,
    "embedding_scale": 14.6, "logit_scale": 0.1, "attention_scale": 0.25,
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("hf", {}),
        ("hf", {"tied": True, "clip_qkv": 1.5}),
        ("hf", LLAMA),
        ("hf", LLAMA | {"biases": True, "tied": True}),
        ("safetensors", CRYSTAL),
        ("safetensors", {}),
    ],
)
def test_what_is_written_is_read_bit_for_bit(
    exported: Callable[..., tuple[Path, Decoder]], form: Form, fields: dict[str, object]
) -> None:
    folder, model = exported(form, **fields)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    found, _ = read_hf(folder)
    assert dataclasses.replace(found, rows_multiple=64) == model.config
    config, weights = read_hf(folder, into=model.config)
    assert config == model.config
    parameters = dict(model.named_parameters())
    assert list(weights) == list(parameters)
    for name, value in weights.items():
        ours = parameters[name]
        if name in ("embedding.weight", "head.weight"):
            assert value.shape == (config.num_rows, 16)
            assert not value[60:].any()
            value, ours = value[:60], ours[:60]
        assert torch.equal(value, ours), name
