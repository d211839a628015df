"""Small shapes, and what is written of models in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.hugging_face.shape import DTYPES, Dtype, Form, config_json
from dolma_pipeline.train.hugging_face.write import write_weights
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
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

    def make(form: Form = "hf", dtype: Dtype = "fp32", **fields: object) -> tuple[Path, Decoder]:
        model = random_model(shape(**fields))
        run = saved_run(tmp_path / "run", model, eos_id=EOS_ID)
        folder = tmp_path / "out"
        folder.mkdir()
        content = config_json(model.config, form=form, eos_id=EOS_ID, dtype=DTYPES[dtype])
        (folder / "config.json").write_bytes(pretty(content))
        write_weights(run, STEP, folder, form=form, dtype=dtype, max_file_bytes=8_000)
        return folder, model

    return make
