from __future__ import annotations

import pytest
import torch

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.world import joined, warn_of_idle_gpus


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("four_gpus")
def test_fewer_gpus_than_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    with (
        pytest.raises(UsageError, match=r"8 processes on a machine that has 4 GPUs for them. Start one a GPU .*4"),
        joined(),
    ):
        pass


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(("processes", "rank", "told"), [("2", "0", True), ("2", "1", False), ("4", "0", False)])
def test_gpus_that_are_left_idle(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], processes: str, rank: str, told: bool
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setenv("LOCAL_RANK", rank)
    warn_of_idle_gpus()
    shown = capfd.readouterr().err
    assert ("train: warning: 4 GPUs, 2 processes: 2 GPUs are left idle" in shown) == told
    assert told or not shown
