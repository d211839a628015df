from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.train import checkpoint, retention
from dolma_pipeline.train.files import Settings, committed_steps
from dolma_pipeline.train.retention import disk_told, kept, steps_to_save, superseded
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

STEPS = [0, 4, 8, 12]


def commit(run: Path, *steps: int) -> None:
    for step in steps:
        (run / f"train/step-{step:06d}").mkdir(parents=True)
        (run / f"train/step-{step:06d}/commit.json").touch()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, STEPS),
        ({"keep_last": 1}, [12]),
        ({"keep_last": 9}, STEPS),
        ({"keep_last": 1, "keep_every_steps": 8}, [0, 8, 12]),
    ],
)
def test_what_stays(
    tmp_path: Path,
    settings: Settings,
    changed: Callable[..., Settings],
    values: dict[str, int],
    expected: list[int],
) -> None:
    config = changed(settings, **values).train
    assert kept(reversed(STEPS), config) == expected
    commit(tmp_path, *STEPS)
    assert superseded(tmp_path, config, until=12) == [step for step in STEPS if step not in expected]
    commit(tmp_path, 16)  # damaged, if training is at step 12
    assert superseded(tmp_path, config, until=12) == [step for step in STEPS if step not in expected]


def test_which_are_still_to_be_written(settings: Settings, changed: Callable[..., Settings]) -> None:
    assert steps_to_save(settings, done=None) == [0, 4, 8, 12]
    assert steps_to_save(changed(settings, save_every_steps=5), done=5) == [10, 12]
    assert steps_to_save(settings, done=12) == []


def test_the_disk(
    tmp_path: Path, settings: Settings, changed: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    each = 12 * settings.model.num_parameters
    free = 10 * each
    monkeypatch.setattr(retention, "free_bytes", lambda folder: free)
    assert disk_told(tmp_path, settings, done=None).startswith("checkpoints of ")
    assert "at most 4 more of them at once" in disk_told(tmp_path, settings, done=None)
    commit(tmp_path, 0, 4)
    assert "at most 2 more" in disk_told(tmp_path, settings, done=4)
    assert "at most 1 more" in disk_told(tmp_path, changed(settings, keep_last=2), done=4)
    assert disk_told(tmp_path, settings, done=12) == ""
    free = each + 1
    assert disk_told(tmp_path, settings, done=4).startswith("warning: checkpoints of ")
    assert "set train.keep_last" in disk_told(tmp_path, settings, done=4)
    free = each - 1
    with pytest.raises(RunError, match=r"Not even one fits. Make room"):
        disk_told(tmp_path, settings, done=4)


def test_a_key_without_effect_is_refused(settings: Settings, changed: Callable[..., Settings]) -> None:
    with pytest.raises(UsageError, match=r"train.keep_every_steps says .* but all stay: give train.keep_last"):
        changed(settings, keep_every_steps=4)


def test_a_damaged_checkpoint_takes_no_good_one_away(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps 4 is good and 8 damaged; then 6 is made, and is the last that there is."""
    fit(tmp_path, settings=changed(settings, max_tokens=8 * 256), dataset=corpus, world=world)
    damaged = tmp_path / "train/step-000008/model_and_optim/__0_0.distcp"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    going_on = changed(settings, max_tokens=8 * 256, keep_last=1, allow_older_checkpoint=True, save_every_steps=6)
    found = []
    save = checkpoint.save

    def saving(run: Path, step: int, **state: Any) -> None:
        found.append(committed_steps(run))
        save(run, step, **state)

    monkeypatch.setattr(checkpoint, "save", saving)
    fit(tmp_path, settings=going_on, dataset=corpus, world=world)
    assert found == [[4, 8], [6]]  # before 6, and before 8
    assert committed_steps(tmp_path) == [8]
    checkpoint.check(tmp_path / "train/step-000008")


def test_a_kill_between_a_save_and_what_it_makes_needless(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = changed(settings, keep_last=1)
    remove = checkpoint.remove

    def killed(folder: Path) -> None:
        if folder.name == "step-000008" and (folder / "commit.json").exists():
            raise KeyboardInterrupt
        remove(folder)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "remove", killed)
        fit(tmp_path, settings=last, dataset=corpus, world=world)
    fit(tmp_path, settings=last, dataset=corpus, world=world)
    assert committed_steps(tmp_path) == [12]
