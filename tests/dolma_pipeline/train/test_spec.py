"""Another architecture, in one file: it trains, is saved, read back and scored; and what is wrong with one is told."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import ConfigError, UnknownNameError, UsageError
from dolma_pipeline.evals.score import Window, saved_model, score
from dolma_pipeline.registry import UserModule, install_modules, read_modules
from dolma_pipeline.train import MODELS, PRESETS, ModelConfig, model_config, register_model
from dolma_pipeline.train.files import read_settings, write_config
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.spec import spec_named, spec_of
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

ARCHITECTURE = '''
"""A model that looks at the last two ids only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from dolma_pipeline.config.keys import Key
from dolma_pipeline.train import ModelSpec, Role, register_model
from dolma_pipeline.train.language_model import LanguageModel, read_out


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    vocab_size: int
    sequence_length: int
    width: Annotated[int, Key(purpose="of an id", at_least=1)]

    @property
    def num_parameters(self):
        return 3 * self.vocab_size * self.width

    @property
    def flops_per_token(self):
        return 6.0 * self.vocab_size * self.width


class Pairs(LanguageModel):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.last = nn.Embedding(config.vocab_size, config.width)
        self.before = nn.Embedding(config.vocab_size, config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def forward(self, tokens_BT, *, positions_BT=None, mask_BTS=None, cache=None, at=None, each=None):
        shifted = torch.cat((torch.zeros_like(tokens_BT[:, :1]), tokens_BT[:, :-1]), dim=1)
        x_BTD = torch.tanh(self.last(tokens_BT) + self.before(shifted))
        return read_out(x_BTD if at is None else x_BTD.flatten(0, 1)[at], self.head, each)


def role(name, config):
    return Role(kind="matrices" if name.startswith("head") else "embedding", std=0.5, rate_scale=3.0)


register_model(
    ModelSpec(
        name="pairs",
        config=PairsConfig,
        presets={"pairs-8": {"width": 8}},
        build=Pairs,
        role=role,
        blocks=lambda model: (),
    )
)
'''

WINDOW: dict[str, int] = {"vocab_size": 256, "sequence_length": 32}


@pytest.fixture
def module(tmp_path: Path) -> Iterator[UserModule]:
    """The architecture's file, read and run."""
    path = tmp_path / "pairs.py"
    path.write_text(ARCHITECTURE)
    (read,) = read_modules([str(path)])
    install_modules([read])
    yield read
    install_modules([])


def test_another_architecture_trains_and_is_scored(
    tmp_path: Path, module: UserModule, world: World, corpus: np.ndarray, make_run: Callable[[Path, Any], Path]
) -> None:
    config = TrainConfig(
        model="pairs-8",
        shape={"width": 16},
        sequence_length=32,
        batch_tokens=256,
        max_tokens=256 * 60,
        lr=0.01,
        save_every_steps=60,
    )
    settings = write_config(tmp_path, config, vocab_size=256, eos_id=0, dataset="toy", seed=1, modules=[module])
    assert dataclasses.asdict(settings.model) == {**WINDOW, "width": 16}
    install_modules([])  # as in a process of torchrun, which knows the run's folder only
    assert "pairs" not in MODELS
    settings = read_settings(tmp_path)
    assert spec_of(settings.model).name == "pairs"
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 1
    window = Window(corpus[0, :-1].astype(np.int64), corpus[0, 1:].astype(np.int64))
    before, after = (score(saved_model(tmp_path, step, settings=settings), [window])[0] for step in (0, 60))
    assert after < before - 31


def test_the_settings_keep_the_module_of_another_architecture_only(tmp_path: Path, module: UserModule) -> None:
    given: dict[str, Any] = {"vocab_size": 256, "eos_id": 0, "dataset": "toy", "seed": 1, "modules": [module]}
    write_config(tmp_path / "a", TrainConfig(model="pairs-8"), **given)
    content = json.loads((tmp_path / "a/train/config.json").read_text())
    assert (content["architecture"], content["module"]["text"]) == ("pairs", ARCHITECTURE)
    write_config(tmp_path / "b", TrainConfig(), **given)
    content = json.loads((tmp_path / "b/train/config.json").read_text())
    assert (content["architecture"], content["module"]) == ("decoder", None)


def test_settings_from_before_there_were_architectures_are_of_the_decoder(tmp_path: Path) -> None:
    settings = write_config(tmp_path, TrainConfig(), vocab_size=256, eos_id=0, dataset="toy", seed=1)
    path = tmp_path / "train/config.json"
    content = json.loads(path.read_text())
    del content["architecture"], content["module"]
    path.write_text(json.dumps(content))
    assert read_settings(tmp_path).model == settings.model


def test_a_wrong_count_of_parameters_is_told(module: UserModule, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_config("pairs-8", **WINDOW)
    monkeypatch.setattr(type(config), "num_parameters", 7)
    with pytest.raises(UsageError, match=r"architecture 'pairs' says num_parameters 7; its model has 6,144\."):
        build(config, seed=1, mesh=world.mesh, device=world.device, precision="fp32")


def test_what_is_registered_twice(module: UserModule) -> None:
    pairs = spec_named("pairs")
    for spec, words in (
        (dataclasses.replace(pairs, config=UserModule, presets={}), "architecture 'pairs' is registered twice: by 'p"),
        (dataclasses.replace(pairs, name="other", presets={}), ", the shapes of 'other', is registered twice: by 'pai"),
        (
            dataclasses.replace(pairs, name="other", config=UserModule, presets={"tiny": {}}),
            "model 'tiny' is registered twice: by 'decoder' already. Rename yours.",
        ),
    ):
        with pytest.raises(UsageError, match=re.escape(words)):
            register_model(spec)
    assert set(MODELS) == {"decoder", "pairs"}


def test_shape_changes_fields_of_a_preset() -> None:
    changed = {"width": 64, "num_heads": 2, "norm": "rms_norm", "num_kv_heads": 1, "tied": True, "norm_eps": 1}
    config = model_config("tiny", **WINDOW, shape=changed)
    assert config == ModelConfig(**WINDOW, **{**PRESETS["tiny"], **changed})
    assert isinstance(config, ModelConfig)
    assert type(config.norm_eps) is float


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"widht": 64}, "no field of 'tiny' in train.shape named 'widht'. Did you mean 'width'"),
        ({"vocab_size": 64}, "no field of 'tiny' in train.shape named 'vocab_size'."),
        ({"width": "wide"}, "train.shape: width: found text 'wide', expected a whole number"),
        ({"width": 64.5}, "train.shape: width: found the number 64.5"),
        ({"width": True}, "train.shape: width: found 'true' (true or false)"),
        ({"num_layers": 0}, "train.shape: num_layers: found the number 0, expected at least 1"),
        ({"tied": "yes"}, "train.shape: tied: found text 'yes'"),
        ({"norm": "batch_norm"}, "train.shape: norm: found text 'batch_norm'"),
        ({"rope_fraction": 1.5}, "train.shape: rope_fraction: found the number 1.5, expected at most 1"),
        ({"clip_qkv": 0.0}, "train.shape: clip_qkv: found the number 0.0, expected above 0"),
        ({"num_heads": 3}, "width 128 needs heads of an even width; it has 3 heads"),
    ],
)
def test_a_shape_that_makes_no_sense(shape: dict[str, Any], words: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError, UsageError), match=re.escape(words)):
        model_config("tiny", **WINDOW, shape=shape)


def test_an_unknown_model_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"no model named 'olmo-1B'. Did you mean 'olmo-1b'"):
        model_config("olmo-1B", **WINDOW)
    with pytest.raises(UnknownNameError, match=r"no architecture named 'decodr'. Did you mean 'decoder'"):
        spec_named("decodr")
