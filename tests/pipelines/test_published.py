"""Recipes of published models: each is in order, and stands for the hyperparameters that were published."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config import Recipe
from dolma_pipeline.registry import install_modules
from dolma_pipeline.runner.modules import open_recipe
from dolma_pipeline.train import Settings, model_config
from dolma_pipeline.train.schedule import learning_rate
from dolma_pipeline.train.stages import is_saved

PIPELINES = Path(__file__).parents[2] / "pipelines"
RECIPES = ("olmo-1b", "amber-7b", "crystalcoder-7b")


MODULES = {"crystalcoder-7b": [f"modules=[{PIPELINES / 'crystalcoder_mixes.py'}]"]}
"""Overrides by which a recipe finds its modules from any working directory."""


def published(name: str) -> Recipe:
    return open_recipe(str(PIPELINES / f"{name}.yaml"), *MODULES.get(name, []))


def settings(name: str, *, vocab_size: int) -> Settings:
    """What a run of the recipe trains, with a tokenizer of this size."""
    recipe = published(name)
    train = recipe.train
    assert train is not None
    model = model_config(train.model, vocab_size=vocab_size, sequence_length=train.sequence_length, shape=train.shape)
    return Settings(train=train, model=model, eos_id=0, dataset="", seed=recipe.seed)


@pytest.fixture(autouse=True)
def modules_forgotten() -> Iterator[None]:
    """The stages that a recipe's modules bring are not those of other tests."""
    yield
    install_modules([])


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Recipe], list[str]]:
    """Overrides by which a recipe reads some documents that lie in the working directory, and trains a tokenizer."""
    monkeypatch.chdir(tmp_path)

    def overrides(recipe: Recipe) -> list[str]:
        for source in recipe.sources:
            rows = [{"id": f"{source}-{i}", "text": f"document {i} of {source}, with some words"} for i in range(20)]
            Path(f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert recipe.tokens is not None
        tokenizer = {"train": "bpe", "vocab_size": 300, "special_tokens": [recipe.tokens.eos]}
        return [
            *MODULES.get(recipe.name, []),
            f"tokenizer={json.dumps(tokenizer)}",
            *(f"sources.{source}.documents={source}.jsonl" for source in recipe.sources),
        ]

    return overrides


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_finds_all_in_order(
    name: str, toy: Callable[[Recipe], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = published(name)
    assert main(["run", str(PIPELINES / f"{name}.yaml"), *toy(recipe), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{len(recipe.sources)} shards; all names, files and rules are in order.\n")
    assert re.search(r"^train +new$", shown, re.MULTILINE)
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_a_fault_in_a_recipe_is_found(
    name: str, toy: Callable[[Recipe], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [*toy(published(name)), "train.shape.num_heads=3", "--dry-run"]
    assert main(["run", str(PIPELINES / f"{name}.yaml"), *changes]) == 2
    assert "needs heads of an even width; it has 3 heads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "vocab_size", "expected"),
    [
        (
            "olmo-1b",
            50_280,
            {
                "num_parameters": 1_176_764_416,
                "num_steps": 739_328,
                "batch_instances": 2048,
                "peak": 4e-4,
                "end": 4e-5,
                "halfway": 2.2e-4,
                "adamw": (0.9, 0.95, 1e-5, 0.1),
                "decayed": ("matrices",),
            },
        ),
        (
            "amber-7b",
            32_000,
            {
                "num_parameters": 6_738_415_616,
                "num_steps": 274_335,
                "batch_instances": 2240,
                "peak": 3e-4,
                "end": 3e-5,
                "halfway": 1.65e-4,
                "adamw": (0.9, 0.95, 1e-8, 0.1),
                "decayed": ("matrices", "embedding", "norms"),
            },
        ),
        (
            "crystalcoder-7b",
            32_000,
            {
                "num_parameters": 6_575_278_720,  # with 32,032 rows
                "num_steps": 79_721 + 214_387 + 27_728,  # rates: below
                "batch_instances": 2112,
                "adamw": (0.9, 0.95, 1e-9, 0.1),
                "decayed": ("matrices", "embedding"),
            },
        ),
    ],
)
def test_hyperparameters_are_the_published_ones(name: str, vocab_size: int, expected: dict[str, Any]) -> None:
    found = settings(name, vocab_size=vocab_size)
    train, warmup, last = found.train, found.train.warmup_steps, found.num_steps
    if not train.stages:
        steps = (warmup, last, warmup + (last - warmup) // 2)
        rates = [learning_rate(step, config=train, num_steps=last) for step in steps]
        assert rates == pytest.approx([expected["peak"], expected["end"], expected["halfway"]], rel=1e-4)
    assert {
        "num_parameters": found.model.num_parameters,
        "num_steps": last,
        "batch_instances": found.batch_instances,
        "adamw": (train.beta1, train.beta2, train.eps, train.weight_decay),
        "decayed": train.weight_decay_on,
    } == {key: value for key, value in expected.items() if key not in ("peak", "end", "halfway")}
    assert (train.sequence_length, train.max_grad_norm, train.precision) == (2048, 1.0, "bf16")


def test_amber_saves_after_each_of_its_360_chunks() -> None:
    found = settings("amber-7b", vocab_size=32_000)
    saved = [step for step in range(1, found.num_steps + 1) if is_saved(step, found.stages)]
    assert len(saved) == 360
    chunk = 1_706_976 / found.batch_instances
    assert all(abs(step - math.ceil(i * chunk)) <= 1 for i, step in enumerate(saved, 1)), "the last step is cut short"


@pytest.mark.parametrize(
    ("number", "name", "tokens", "num_steps", "warmup", "decay_steps", "peak", "end", "reset"),
    [
        (0, "first", "tokens", 79_721, 86, 294_337, 0.012, 0.00012408, False),
        (1, "second", "tokens_second", 214_387, 86, 214_301, 0.0087825, 0.00013679, False),
        (2, "third", "tokens_third", 27_728, 276, 27_452, 0.002, 0.0002, True),
    ],
)
def test_the_stages_of_crystalcoder_are_the_published_ones(
    number: int,
    name: str,
    tokens: str,
    num_steps: int,
    warmup: int,
    decay_steps: int,
    peak: float,
    end: float,
    reset: bool,
) -> None:
    stage = settings("crystalcoder-7b", vocab_size=32_000).stages[number]
    assert (stage.name, stage.tokens, stage.num_steps, stage.reset) == (name, tokens, num_steps, reset)
    steps = (warmup // 2, warmup, warmup + 10_000, num_steps)
    expected = [peak / 2, peak, *(peak - (peak - end) * (step - warmup) / decay_steps for step in steps[2:])]
    rates = [learning_rate(step, config=stage.config, num_steps=stage.horizon) for step in steps]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_each_stage_of_crystalcoder_has_a_mix_of_its_own_budget() -> None:
    recipe = published("crystalcoder-7b")
    train = recipe.train
    assert train is not None
    assert [mix.target_tokens for mix in recipe.mixes().values()] == [stage.max_tokens for stage in train.stages]
    assert [*recipe.token_sections()] == [stage.tokens for stage in train.stages]
    for mix in recipe.mixes().values():
        weights = [one.weight for one in mix.sources.values()]
        assert sum(weight for weight in weights if weight is not None) == pytest.approx(1)
        assert mix.sources.keys() == recipe.sources.keys(), "one without a weight counts by its size"
        assert mix.held_out == recipe.mixes()["mix"].held_out, "else a stage trains on what is scored"
