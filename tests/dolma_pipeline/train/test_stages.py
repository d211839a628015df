from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import StageConfig, TrainConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.order import Order, batch_instances
from dolma_pipeline.train import data, step
from dolma_pipeline.train.files import Settings, committed_steps, read_settings
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.stages import is_saved, sections_of, stage_at, stages_of
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World
from tests.dolma_pipeline.train.test_train import contents

BATCH = 8 * 32
STAGES = (
    StageConfig(name="broad", max_tokens=5 * BATCH, horizon_tokens=20 * BATCH, lr=0.01, warmup_steps=2),
    StageConfig(name="fine", tokens="tokens_fine", max_tokens=4 * BATCH + 7, lr=0.002, warmup_steps=1),
    StageConfig(name="last", max_tokens=2 * BATCH, schedule="constant", lr=0.001, warmup_steps=0, reset_optimizer=True),
)


@pytest.fixture
def staged(settings: Settings, changed: Callable[..., Settings]) -> Settings:
    return changed(settings, stages=STAGES, schedule="linear", save_every_steps=100)


@pytest.fixture
def parts(corpus: np.ndarray) -> dict[str, np.ndarray]:
    return {"tokens": corpus[:100], "tokens_fine": corpus[100:180]}


def rows(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "train/metrics.jsonl").read_text().splitlines()]


def test_each_stage_has_its_own_schedule_and_steps_count_on(
    tmp_path: Path, world: World, parts: dict[str, np.ndarray], staged: Settings
) -> None:
    fit(tmp_path, settings=staged, dataset=parts, world=world)
    found = rows(tmp_path)
    assert [(row["step"], row["stage"]) for row in found] == [
        (number, "broad" if number < 6 else "fine" if number < 10 else "last") for number in range(1, 12)
    ]
    rates = [row["lr"] for row in found]
    cut = [0.01 * (1 - 0.9 * step / 18) for step in (1, 2, 3)]  # of 20 steps, 2 of them warm-up, 5 are taken
    fine = [0.002, *(0.002 * (1 - 0.9 * step / 3) for step in (1, 2, 3))]
    assert rates == pytest.approx([0.005, 0.01, *cut, *fine, 0.001, 0.001])
    assert committed_steps(tmp_path) == [0, 5, 9, 11]  # each stage's end


def test_batches_are_those_of_the_stages_own_parts(
    world: World,
    tmp_path: Path,
    parts: dict[str, np.ndarray],
    staged: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In their own order; parts that were read before go on; numbers of sequences count on from section to section."""
    seen: list[data.Batch] = []
    losses = step.forward_backward

    def noted(model: object, batch: data.Batch, **more: object) -> object:
        seen.append(batch)
        return losses(model, batch, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(step, "forward_backward", noted)
    fit(tmp_path, settings=staged, dataset=parts, world=world)
    first = Order(num_instances=100, batch_instances=8, seed=5)
    second = Order(num_instances=80, batch_instances=8, seed=5)
    expected = [
        *(("tokens", number, first) for number in range(1, 6)),
        *(("tokens_fine", number, second) for number in range(1, 5)),
        *(("tokens", number, first) for number in (6, 7)),
    ]
    for batch, (section, number, order) in zip(seen, expected, strict=True):
        own = batch_instances(number, rank=0, world_size=1, order=order)
        assert batch.tokens.tolist() == parts[section][own].tolist()
        assert batch.instances == [int(i) + (100 if section == "tokens_fine" else 0) for i in own]
    order = json.loads((tmp_path / "train/order.json").read_text())
    assert [(one["name"], one["first_step"], one["first_batch"], one["first_instance"]) for one in order["stages"]] == [
        ("broad", 1, 1, 0),
        ("fine", 6, 1, 100),
        ("last", 10, 6, 0),
    ]


def test_a_kill_in_the_second_stage_and_at_the_end_of_it(
    tmp_path: Path, world: World, parts: dict[str, np.ndarray], staged: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(whole, settings=staged, dataset=parts, world=world)
    written = Log.step
    for last in (7, 9):  # after 9 the optimizer is to be set back, and is not yet

        def breaking(self: Log, step: int, *, last: int = last, **numbers: object) -> None:
            written(self, step, **numbers)  # type: ignore[arg-type]
            if step == last + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Log, "step", breaking)
            fit(broken, settings=staged, dataset=parts, world=world)
    fit(broken, settings=staged, dataset=parts, world=world)
    assert contents(broken / "train") == contents(whole / "train")


def test_a_reset_optimizer_has_seen_nothing(
    tmp_path: Path, world: World, parts: dict[str, np.ndarray], staged: Settings, changed: Callable[..., Settings]
) -> None:
    """AdamW's first step is as long as its rate, whatever the gradient: what tells it from the tenth."""
    kept = changed(staged, stages=(*STAGES[:2], dataclasses.replace(STAGES[2], reset_optimizer=False)))
    fit(tmp_path / "reset", settings=staged, dataset=parts, world=world)
    fit(tmp_path / "kept", settings=kept, dataset=parts, world=world)
    one, other = rows(tmp_path / "reset"), rows(tmp_path / "kept")
    assert one[:10] == other[:10]
    assert one[10]["loss"] != other[10]["loss"]


def test_one_stage_is_the_run_without_stages(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    fit(tmp_path / "plain", settings=settings, dataset=corpus, world=world)
    one = changed(settings, stages=(StageConfig(name="all", max_tokens=settings.train.max_tokens),))
    fit(tmp_path / "one", settings=one, dataset=corpus, world=world)
    assert rows(tmp_path / "one") == [{**row, "stage": "all"} for row in rows(tmp_path / "plain")]
    assert "stages" not in json.loads((tmp_path / "plain/train/order.json").read_text())


def test_settings_come_back(tmp_path: Path, staged: Settings, make_run: Callable[[Path, Settings], Path]) -> None:
    assert read_settings(make_run(tmp_path / "run", staged)) == staged


def test_sections_in_the_order_in_which_they_are_read() -> None:
    assert sections_of(TrainConfig(stages=STAGES[1:])) == ("tokens_fine", "tokens")
    assert sections_of(TrainConfig()) == ("tokens",)


def test_a_schedule_that_is_shorter_than_its_stage(settings: Settings, changed: Callable[..., Settings]) -> None:
    with pytest.raises(UsageError, match=r"train\.stages: short: horizon_tokens is less than its max_tokens"):
        changed(settings, stages=(StageConfig(name="short", max_tokens=4 * BATCH, horizon_tokens=3 * BATCH),))


@given(st.integers(1, 50), st.integers(1, 400))
def test_equal_pieces_with_a_checkpoint_each(pieces: int, num_steps: int) -> None:
    """As many as asked for, at whole steps, none longer by more than one step than another."""
    num_steps = max(num_steps, pieces)
    stages = stages_of(TrainConfig(checkpoints=pieces, batch_tokens=256, max_tokens=256 * num_steps))
    saved = [number for number in range(1, num_steps + 1) if is_saved(number, stages)]
    lengths = np.diff([0, *saved])
    assert len(saved) == pieces
    assert saved[-1] == num_steps
    assert lengths.max() - lengths.min() <= 1


def test_more_pieces_than_steps(settings: Settings, changed: Callable[..., Settings]) -> None:
    with pytest.raises(UsageError, match=r"train\.checkpoints is 13, but there are 12 steps"):
        changed(settings, checkpoints=13)


def test_the_stage_of_a_step() -> None:
    stages = stages_of(TrainConfig(batch_tokens=BATCH, stages=STAGES))
    assert [stage_at(stages, number).name for number in (1, 5, 6, 9, 10, 11)] == [
        *("broad", "broad"),
        *("fine", "fine"),
        *("last", "last"),
    ]
