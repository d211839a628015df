"""Runs with a checkpoint of random weights, in any shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig

VOCABULARY, LENGTH, STEP = 60, 16, 7


@pytest.fixture
def shape() -> Callable[..., ModelConfig]:
    """A small shape, with these fields; `norm` and so on as in `ModelConfig`. 60 ids in 64 rows."""

    def make(**fields: object) -> ModelConfig:
        common = {
            "vocab_size": VOCABULARY, "sequence_length": LENGTH, "width": 16, "num_layers": 2, "num_heads": 4,
            "hidden": 24, "tied": False, "rows_multiple": 64,
        }  # fmt: skip
        return ModelConfig(**(common | fields))

    return make


@pytest.fixture
def random_model() -> Callable[..., Decoder]:
    """A model whose every number is drawn, those of norms and biases too."""

    def make(config: ModelConfig, *, seed: int = 1) -> Decoder:
        generator = torch.Generator().manual_seed(seed)
        model = Decoder(config).requires_grad_(False)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        return model

    return make


@pytest.fixture
def saved_run(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run as training leaves it, with these weights as those of step 7."""

    def make(model: Decoder, *, eos_id: int = 3) -> Path:
        folder = tmp_path / "run"
        train = TrainConfig(sequence_length=LENGTH, batch_tokens=4 * LENGTH)
        settings = Settings(train=train, model=model.config, eos_id=eos_id, dataset="sha256:toy", seed=5)
        paths.write_bytes(folder / "train/config.json", pretty(settings.as_dict()))
        step = folder / "train" / f"step-{STEP:06d}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no other processes
            save({"model": model.state_dict()}, checkpoint_id=step / "model_and_optim", no_dist=True)
        paths.write_bytes(step / "commit.json", pretty({"format": 1, "step": STEP, "tokens": STEP * 4 * LENGTH}))
        return folder

    return make
