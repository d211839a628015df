"""A group of one process, a toy corpus that can be learned, and runs on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.world import World, joined

VOCABULARY, LENGTH = 256, 32


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One thread: on busy cores a second one mostly waits. Of a file: tests of others join groups of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with joined() as found:
        yield found
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def corpus() -> np.ndarray:
    """uint8 [512, LENGTH]: ids 1..64; with 0.9 the next id follows from the last, else it is drawn."""
    random = np.random.Generator(np.random.PCG64(11))
    follows = random.permutation(64)
    ids = np.zeros(512 * LENGTH, np.uint8)
    drawn, surprise = random.integers(0, 64, len(ids)), random.random(len(ids)) < 0.1
    for i in range(1, len(ids)):
        ids[i] = drawn[i] if surprise[i] else follows[ids[i - 1]]
    return (ids + 1).reshape(-1, LENGTH)


@pytest.fixture
def settings() -> Settings:
    """A model of 30,000 parameters, 8 sequences a step, 12 steps."""
    train = TrainConfig(
        sequence_length=LENGTH, batch_tokens=8 * LENGTH, max_tokens=12 * 8 * LENGTH, warmup_steps=3, save_every_steps=4
    )
    shape = ModelConfig(
        vocab_size=VOCABULARY, sequence_length=LENGTH, width=32, num_layers=2, num_heads=2, hidden=64, tied=False
    )
    return Settings(train=train, model=shape, eos_id=0, dataset="sha256:toy", seed=5)


@pytest.fixture
def make_run(corpus: np.ndarray) -> Callable[[Path, Settings], Path]:
    """A run's folder as the tokens stage and the launcher leave it."""

    def make(folder: Path, settings: Settings) -> Path:
        part = folder / "tokens" / "train" / "part-00000.npy"
        part.parent.mkdir(parents=True)
        corpus.tofile(part)
        paths.write_bytes(folder / "tokens" / "manifest.json", pretty({"dtype": "uint8", "dataset": settings.dataset}))
        paths.write_bytes(folder / "train" / "config.json", pretty(settings.as_dict()))
        return folder

    return make


@pytest.fixture
def changed() -> Callable[..., Settings]:
    """The settings with other values in `train`."""

    def change(settings: Settings, **values: object) -> Settings:
        return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **values))

    return change
