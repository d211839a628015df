"""Small shapes, and what is written of models in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import torch
from torch import nn

from dolma_pipeline.config.keys import Key
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.hugging_face.shape import DTYPES, Dtype, Form, config_json
from dolma_pipeline.train.hugging_face.write import write_weights
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import MODELS, ModelSpec, Role, Shape
from tests.saved_models import STEP, random_model, saved_run

EOS_ID = 3


@pytest.fixture
def shape() -> Callable[..., ModelConfig]:
    """A small shape with these fields of `ModelConfig`: 60 ids in 64 rows, and else as OLMo's."""

    def make(**fields: object) -> ModelConfig:
        common = {
            "vocab_size": 60, "sequence_length": 16, "width": 16, "num_layers": 2, "num_heads": 4, "hidden": 24,
            "tied": False, "rows_multiple": 64,
        }  # fmt: skip
        return ModelConfig(**(common | fields))

    return make


@pytest.fixture
def exported(tmp_path: Path, shape: Callable[..., ModelConfig]) -> Callable[..., tuple[Path, Decoder]]:
    """A folder with config and weights of a random model in this shape, in files of 8 kB, and the model."""

    def make(
        form: Form = "hf", dtype: Dtype = "fp32", config: Shape | None = None, **fields: object
    ) -> tuple[Path, Decoder]:
        model = random_model(config or shape(**fields))
        run = saved_run(tmp_path / "run", model, eos_id=EOS_ID)
        folder = tmp_path / "out"
        folder.mkdir()
        content = config_json(model.config, form=form, eos_id=EOS_ID, dtype=DTYPES[dtype])
        (folder / "config.json").write_bytes(pretty(content))
        write_weights(run, STEP, folder, form=form, dtype=dtype, max_file_bytes=8_000)
        return folder, model

    return make


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """The shape of an architecture that is none of ours."""

    vocab_size: int
    sequence_length: int
    width: Annotated[int, Key(purpose="of an id")]

    @property
    def num_parameters(self) -> int:
        return 2 * self.vocab_size * self.width + 1

    @property
    def flops_per_token(self) -> float:
        return 6.0 * self.num_parameters


class Pairs(LanguageModel):
    """Logits of an id from the id before it."""

    def __init__(self, config: PairsConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.heat = nn.Parameter(torch.ones(()))


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> PairsConfig:
    """A shape of that architecture, which is known for the length of a test."""
    spec = ModelSpec(
        name="pairs",
        config=PairsConfig,
        presets={},
        build=Pairs,
        role=lambda name, config: Role(kind="matrices", std=1.0),
        blocks=lambda model: (),
    )
    monkeypatch.setitem(MODELS, "pairs", spec)
    return PairsConfig(vocab_size=13, sequence_length=8, width=4)
