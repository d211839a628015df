from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.tensor import DTensor

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.files import Init, Settings
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.source import check_fit, find_source
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

Exported = Callable[..., tuple[Path, Decoder]]


def whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def test_training_starts_from_the_weights_of_a_folder(tmp_path: Path, world: World, exported: Exported) -> None:
    folder, model = exported("hf")
    source = find_source(str(folder))
    assert (source.step, source.settings) == (0, None)
    assert source.weights == find_source(str(folder)).weights
    train = TrainConfig(sequence_length=16, batch_tokens=64, max_tokens=64, init_from=str(folder))
    init = Init(step=0, weights=source.weights, extend=False)
    settings = Settings(train=train, model=model.config, eos_id=source.eos_id, dataset="x", seed=1, init=init)
    check_fit(source, model.config, named="folder")
    frozen = dataclasses.replace(settings, train=dataclasses.replace(train, lr=1e-12, weight_decay=0.0))
    found = fit(tmp_path / "new", settings=frozen, dataset=np.full((4, 16), 7, np.uint16), world=world)
    assert model.config.vocab_size < model.config.num_rows
    ours = dict(model.named_parameters())
    for name, value in found.named_parameters():
        rows = model.config.vocab_size if name in ("embedding.weight", "head.weight") else len(value)
        torch.testing.assert_close(whole(value)[:rows], ours[name][:rows], rtol=0, atol=1e-9)


def test_a_shape_that_does_not_fit(exported: Exported) -> None:
    folder, model = exported("hf")
    source = find_source(str(folder))
    with pytest.raises(UsageError, match=r"the weights of base are of another shape: num_layers: \d there, 9 here"):
        check_fit(source, dataclasses.replace(model.config, num_layers=9), named="base")
    with pytest.raises(UsageError, match=r"base has \d+ ids, here there are 9000"):
        check_fit(source, dataclasses.replace(model.config, vocab_size=9000), named="base")


def test_a_folder_that_does_not_say_how_documents_end(tmp_path: Path, exported: Exported) -> None:
    folder, _ = exported("hf")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("eos_token_id", "eos"))
    with pytest.raises(UsageError, match=r"config\.json: eos_token_id is None, expected the id"):
        find_source(str(folder))
