from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import Init, Settings, committed_steps, read_settings
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.source import check_shape, check_tokenizer, find_source
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

SHAPE = ModelConfig(vocab_size=256, sequence_length=32, width=32, num_layers=2, num_heads=2, hidden=64, tied=False)


@pytest.fixture
def base(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> tuple[Path, Settings]:
    """A run of 6 steps at a constant rate, saved after 4 and 6."""
    short = changed(settings, schedule="constant", max_tokens=6 * 8 * 32)
    paths.write_bytes(tmp_path / "base/train/config.json", pretty(short.as_dict()))
    fit(tmp_path / "base", settings=short, dataset=corpus, world=world)
    return tmp_path / "base", short


def started(settings: Settings, named: Path | str, *, extend: bool = False) -> Settings:
    """The settings with a model to start from."""
    source = find_source(str(named))
    init = Init(step=source.step, weights=source.weights, extend=extend)
    train = dataclasses.replace(settings.train, init_from=str(named), extend=extend)
    return dataclasses.replace(settings, train=train, init=init)


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "train/metrics.jsonl").read_text().splitlines()]


def test_a_run_that_is_extended_is_the_run_that_was_longer_from_the_start(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    base: tuple[Path, Settings],
    changed: Callable[..., Settings],
) -> None:
    """Weights, moments, the order of the data and the schedule go on: the same numbers, bit for bit."""
    longer = changed(base[1], max_tokens=12 * 8 * 32)
    fit(tmp_path / "whole", settings=longer, dataset=corpus, world=world)
    fit(tmp_path / "longer", settings=started(longer, base[0], extend=True), dataset=corpus, world=world)
    assert rows(tmp_path / "longer") == rows(tmp_path / "whole")[6:]
    assert committed_steps(tmp_path / "longer") == [6, 8, 12]
    last = "train/step-000012/model_and_optim/__0_0.distcp"
    assert (tmp_path / "longer" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


def test_weights_alone_start_a_run_of_its_own(
    tmp_path: Path, world: World, corpus: np.ndarray, base: tuple[Path, Settings]
) -> None:
    run, short = tmp_path / "new", started(base[1], f"{base[0]}@4")
    fit(run, settings=short, dataset=corpus, world=world)
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6]
    assert rows(run)[0]["lr"] == rows(base[0])[0]["lr"]  # the schedule begins anew
    first = torch.load(saved(run, 0), weights_only=True)
    source = torch.load(saved(base[0], 4), weights_only=True)
    assert all(torch.equal(first["model"][name], source["model"][name]) for name in source["model"])
    moments = first["optim"]["state"].values()
    assert not any(value.any() for one in moments for value in one.values())
    assert any(value.any() for one in source["optim"]["state"].values() for value in one.values())


def saved(run: Path, step: int) -> Path:
    """A checkpoint as one file of torch's."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    target = run / f"{step}.pt"
    dcp_to_torch_save(run / f"train/step-{step:06d}/model_and_optim", target)
    return target


def test_a_run_that_has_begun_does_not_ask_for_its_model_again(
    tmp_path: Path, world: World, corpus: np.ndarray, base: tuple[Path, Settings]
) -> None:
    run, settings = tmp_path / "new", started(base[1], base[0])
    paths.write_bytes(run / "train/config.json", pretty(settings.as_dict()))
    assert read_settings(run) == settings
    fit(run, settings=settings, dataset=corpus, world=world)
    whole = (run / "train/metrics.jsonl").read_bytes()
    (run / "train/step-000006/commit.json").unlink()  # as a kill at step 5 leaves it
    shutil.rmtree(base[0])
    fit(run, settings=settings, dataset=corpus, world=world)
    assert (run / "train/metrics.jsonl").read_bytes() == whole


def test_other_weights_than_those_that_were_chosen(
    tmp_path: Path, world: World, corpus: np.ndarray, base: tuple[Path, Settings]
) -> None:
    settings = started(base[1], f"{base[0]}@4")
    other = dataclasses.replace(settings, init=dataclasses.replace(settings.init, weights="sha256:other"))  # type: ignore[type-var]
    with pytest.raises(DataError, match=r"step 4 has other weights than train/config.json says"):
        fit(tmp_path / "new", settings=other, dataset=corpus, world=world)


def test_the_digest_is_of_the_weights_not_of_their_place(tmp_path: Path, base: tuple[Path, Settings]) -> None:
    shutil.copytree(base[0], tmp_path / "copy")
    assert find_source(f"{tmp_path}/copy").weights == find_source(f"{base[0]}@6").weights
    assert find_source(f"{base[0]}@4").weights != find_source(f"{base[0]}@6").weights


def test_extended_but_not_longer(base: tuple[Path, Settings]) -> None:
    with pytest.raises(UsageError, match=r"max_tokens is 1536, 6 steps, of which 6 are done in .*base.*Raise it"):
        started(base[1], base[0], extend=True)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("base@5", r"no checkpoint of step 5\. There are: 0, 4, 6\."),
        ("empty", "has no checkpoint"),
        ("s3://bucket/run", "Copy its folder here"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, base: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch, named: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        find_source(named)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 64, "num_layers": 3}, "another shape: width 32 there, 64 here; num_layers 2 there, 3 here"),
        ({"vocab_size": 250}, "a vocabulary of 256 ids, here there are 250"),
        ({"rows_multiple": 1000}, "padding_rows 0 there, 744 here"),
    ],
)
def test_weights_of_another_shape(changes: dict[str, int], message: str) -> None:
    check_shape(SHAPE, dataclasses.replace(SHAPE, sequence_length=64), named="base")
    with pytest.raises(UsageError, match=message):
        check_shape(SHAPE, dataclasses.replace(SHAPE, **changes), named="base")


def test_another_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    check_tokenizer(path, "0" * 64, named="base")  # there is none to compare with
    path.write_text("{}")
    check_tokenizer(path, paths.sha256_file(path), named="base")
    with pytest.raises(UsageError, match="base was trained with another tokenizer: sha256 44136fa355b3 there, 0000"):
        check_tokenizer(path, "0" * 64, named="base")
