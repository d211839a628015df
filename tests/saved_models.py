"""Models of random numbers, and folders of runs that hold one as training leaves it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.distributed.checkpoint.state_dict_saver import save

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.commit import Commit, file_record, write_commit
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.spec import Shape, spec_of

STEP, TOKENS = 7, 7 * 4 * 16


def random_model(config: Shape, *, seed: int = 1) -> LanguageModel:
    """Every number is drawn, those of norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    model = spec_of(config).build(config).requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def saved_run(folder: Path, model: LanguageModel, *, eos_id: int) -> Path:
    """The folder, with this model as the checkpoint of step 7."""
    length = model.config.sequence_length
    train = TrainConfig(sequence_length=length, batch_tokens=4 * length)
    settings = Settings(train=train, model=model.config, eos_id=eos_id, dataset="sha256:toy", seed=5)
    paths.write_bytes(folder / "train/config.json", pretty(settings.as_dict()))
    step = folder / "train" / f"step-{STEP:06d}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no other processes
        save({"model": model.state_dict()}, checkpoint_id=step / "model_and_optim", no_dist=True)
    files = {path.relative_to(step).as_posix(): file_record(path) for path in sorted(step.rglob("*")) if path.is_file()}
    write_commit(step, Commit(step=STEP, tokens=TOKENS, files=files))
    return folder
