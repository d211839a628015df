from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.train import retention
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.retention import disk_told, kept, steps_to_save, superseded

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
    assert superseded(tmp_path, config) == [step for step in STEPS if step not in expected]


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
