"""A finished run of the tiny corpus with a loaded tokenizer, to look at and to change."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config import Recipe
from dolma_pipeline.engines import Here
from dolma_pipeline.engines.choose import EngineChoice
from dolma_pipeline.runner import Result, run
from tests.pipeline import tiny
from tests.pipeline.tiny import corpus, here  # noqa: F401 fixtures

STAGES = ("tag", "dedupe", "mix")


def loaded(output: str | Path, **changes: Any) -> Recipe:
    """The tiny recipe with the tokenizer that `trained` made."""
    return tiny.recipe(output, **{"tokenizer": {"load": "tokenizer.json"}, "tokens": None, **changes})


def made(recipe: Recipe, *, redo: bool = False, stages: tuple[str, ...] = STAGES) -> Result:
    """Run a recipe here, without Beam."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineChoice, "engine", lambda self, say=None, *, note=None: Here())
        return run(recipe, redo=redo, stages=stages, quiet=True)


@pytest.fixture(scope="session")
def trained(corpus: Path) -> Path:  # noqa: F811
    """A finished run whose tokenizer was trained, to look at only."""
    with contextlib.chdir(corpus):
        made(tiny.recipe("trained", tokens=None))
        shutil.copyfile("trained/tokenizer/tokenizer.json", "tokenizer.json")
    return corpus / "trained"


@pytest.fixture(scope="session")
def finished(trained: Path) -> Path:
    """A finished run with a loaded tokenizer, to look at only."""
    with contextlib.chdir(trained.parent):
        made(loaded("loaded"))
    return trained.parent / "loaded"


@pytest.fixture
def copied(finished: Path, here: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A copy of it, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
