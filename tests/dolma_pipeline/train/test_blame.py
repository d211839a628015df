from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import RunError
from dolma_pipeline.train import objective
from dolma_pipeline.train.blame import Patience, Place, bisected
from dolma_pipeline.train.files import Settings, committed_steps
from dolma_pipeline.train.first_weights import draw
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import nats
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

POISON = 250


class _Exploding(torch.autograd.Function):
    """What comes in, with a gradient that is not finite."""

    @staticmethod
    def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.inf


@pytest.fixture
def exploding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loss is finite, but the gradient of the label POISON is not."""

    def changed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not bool((labels == POISON).any()):
            return nats(logits, labels)
        spoilt = _Exploding.apply(logits)
        return nats(torch.where((labels == POISON).any(dim=1)[:, None, None], spoilt, logits), labels)

    monkeypatch.setattr(objective, "nats", changed)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the label POISON is not a number."""

    def changed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nats(logits, labels) * torch.where(labels == POISON, math.nan, 1.0)

    monkeypatch.setattr(objective, "nats", changed)


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@given(st.integers(1, 70), st.sets(st.integers(0, 69)))
def test_halving_finds_exactly_the_guilty(num: int, guilty: set[int]) -> None:
    places = [Place(i, 1000 + i, 1.0) for i in range(num)]
    bad = guilty & {*range(num)}
    asked = []

    def norm(part: Sequence[Place]) -> float:
        asked.append(len(part))
        return math.nan if any(one.place in bad for one in part) else float(len(part))

    if bad:
        assert {one.place for one in bisected(places, norm)} == bad
        assert len(asked) <= 2 * len(bad) * math.ceil(math.log2(max(num, 2)))


def test_where_only_the_whole_overflows_the_larger_half_is_followed() -> None:
    places = [Place(i, i, 1.0) for i in range(16)]
    sizes = dict.fromkeys(range(16), 1.0) | {11: 5.0}

    def norm(part: Sequence[Place]) -> float:
        total = sum(sizes[one.place] for one in part)
        return math.inf if total > 19 else total

    assert [one.place for one in bisected(places, norm)] == [11]


@pytest.mark.usefixtures("exploding")
def test_a_gradient_that_explodes_condemns_its_sequences_alone(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    small = corpus[:16].copy()
    small[3, 20] = small[9, 5] = POISON
    four = changed(settings, max_tokens=4 * 256)
    fit(tmp_path, settings=four, dataset=small, world=world)
    found = rows(tmp_path / "quarantine.jsonl")
    assert sorted(row["instance"] for row in found) == [3, 9]  # type: ignore[type-var]
    reason = "its gradient has no finite norm, though its loss is finite; that of the step is nan"
    assert {row["reason"] for row in found} <= {reason, reason.replace("nan", "inf")}
    metrics = rows(tmp_path / "train/metrics.jsonl")
    assert {row["step"] for row in metrics if row.get("skipped")} == {row["step"] for row in found}
    assert all(row["loss"] is not None for row in metrics)


@pytest.mark.usefixtures("failing")
def test_data_that_is_to_blame(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    bad = corpus.copy()
    bad[:, 20] = POISON
    short = changed(settings, max_skipped_steps=3)
    with pytest.raises(
        RunError, match=r"^step 3: the last 3 steps were all skipped \(train.max_skipped_steps is 3\). The data is to"
    ):
        fit(tmp_path, settings=short, dataset=bad, world=world)
    assert len(rows(tmp_path / "quarantine.jsonl")) == 24
    # The same command ends so again; it begins at the checkpoint of step 0.
    with pytest.raises(RunError, match=r"^step 3: the last 3 steps"):
        fit(tmp_path, settings=short, dataset=bad, world=world)
    assert committed_steps(tmp_path) == [0]


@pytest.mark.usefixtures("failing")
def test_skipped_steps_count_across_a_checkpoint(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    bad = corpus.copy()
    bad[:, 20] = POISON
    with pytest.raises(RunError, match=r"^step 6: "):
        fit(tmp_path, settings=changed(settings, max_skipped_steps=6), dataset=bad, world=world)
    assert committed_steps(tmp_path) == [0, 4]
    with pytest.raises(RunError, match=r"^step 5: the last 5 steps"):  # not 4 + 5
        fit(tmp_path, settings=changed(settings, max_skipped_steps=5), dataset=bad, world=world)


def test_a_run_of_skipped_steps_only_fails_however_short(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    tmp_path.joinpath("quarantine.jsonl").write_text("".join(f'{{"instance":{i}}}\n' for i in range(8)))
    two = changed(settings, max_tokens=2 * 256)
    with pytest.raises(RunError, match=r"^step 2: the last 2 steps .* quarantine.jsonl masks every sequence"):
        fit(tmp_path, settings=two, dataset=corpus[:8], world=world)
    assert committed_steps(tmp_path) == [0]
    metrics = rows(tmp_path / "train/metrics.jsonl")
    assert [(row["loss"], row["grad_norm"], row["skipped"]) for row in metrics] == [(None, 0.0, True)] * 2


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (math.nan, "The weights are to blame: some of them, or of the optimizer's moments, are not finite"),
        (1e30, r"The learning rate is to blame: weights have grown up to \d"),
    ],
)
def test_weights_that_are_to_blame_condemn_no_sequence(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    words: str,
) -> None:
    def spoilt(model: LanguageModel, **given: Any) -> None:
        draw(model, **given)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith(("blocks.1.mlp", "head")):
                    parameter.mul_(factor)

    monkeypatch.setattr("dolma_pipeline.train.train.draw", spoilt)
    with pytest.raises(RunError, match=rf"^step 2: the last 2 steps.* {words}"):
        fit(tmp_path, settings=changed(settings, max_skipped_steps=2), dataset=corpus, world=world)
    assert not (tmp_path / "quarantine.jsonl").exists()


def test_a_step_that_goes_well_begins_the_count_anew(world: World) -> None:
    patience = Patience(3, in_a_row=2)
    patience.after(5, cause=None, is_last=False, largest=lambda: 1.0)
    for step in (6, 7):
        patience.after(step, cause="data", is_last=False, largest=lambda: 1.0)
    patience.after(8, cause=None, is_last=True, largest=lambda: 1.0)
    for step in (9, 10):
        patience.after(step, cause="data", is_last=step == 10, largest=lambda: 1.0)  # not all were skipped
    with pytest.raises(RunError, match=r"^step 11: the last 3 steps"):
        patience.after(11, cause="data", is_last=False, largest=lambda: 1.0)
