from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path

import pytest

from dolma_pipeline.train import board
from dolma_pipeline.train.log import Log, skipped_in_a_row
from dolma_pipeline.train.speed import Speed


def test_numbers_go_to_metrics_and_times_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path, step=0, num_steps=3, batch_tokens=100)
    log.step(1, loss=1.5, grad_norm=2.0, learning_rate=0.1, skipped=False)
    log.step(2, loss=math.nan, grad_norm=math.inf, learning_rate=0.2, skipped=True)
    log.step(3, loss=1.25, grad_norm=1.0, learning_rate=0.1, skipped=False)
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 1, "tokens": 100, "loss": 1.5, "grad_norm": 2.0, "lr": 0.1},
        {"step": 2, "tokens": 200, "loss": None, "grad_norm": None, "lr": 0.2, "skipped": True},
        {"step": 3, "tokens": 300, "loss": 1.25, "grad_norm": 1.0, "lr": 0.1},
    ]
    progress = [json.loads(line) for line in (tmp_path / "log/train-progress.jsonl").read_text().splitlines()]
    assert [row["step"] for row in progress] == [1, 3]
    assert set(progress[0]) == {"step", "time", "tokens_per_second", "memory_bytes"}
    assert "train: step 3/3, loss 1.2500, " in capfd.readouterr().err


def test_skipped_steps_are_counted_from_the_end(tmp_path: Path) -> None:
    assert skipped_in_a_row(tmp_path, until=3) == 0
    log = Log(tmp_path, step=0, num_steps=5, batch_tokens=100)
    for step in (1, 2, 3, 4, 5):
        log.step(step, loss=math.nan, grad_norm=math.nan, learning_rate=0.1, skipped=step not in (2, 5))
    log.close()
    assert [skipped_in_a_row(tmp_path, until=step) for step in range(6)] == [0, 1, 0, 1, 2, 0]


def test_utilisation_and_a_gpus_memory_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    speed = Speed(flops=1e12, peak=1e10, num_processes=2)
    log = Log(tmp_path, step=0, num_steps=1, batch_tokens=100, speed=speed, device_bytes=lambda: 77)
    log.step(1, loss=1.5, grad_norm=2.0, learning_rate=0.1, skipped=False)
    log.close()
    (row,) = [json.loads(line) for line in (tmp_path / "log/train-progress.jsonl").read_text().splitlines()]
    assert row["device_memory_bytes"] == 77
    assert row["utilisation"] == pytest.approx(row["tokens_per_second"] * 1e12 / 2e10, rel=1e-3)
    assert "% of the peak" in capfd.readouterr().err


def test_tensorboard_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in place of TensorBoard's writer, which is not among what the tests need."""
    scalars: list[tuple[str, float, int]] = []
    opened: list[tuple[str, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            opened.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.append((name, value, step))

        def close(self) -> None:
            opened.append(("closed", 0))

    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda name: name == "tensorboard")
    log = Log(tmp_path, step=4, num_steps=9, batch_tokens=10)
    log.step(5, loss=1.5, grad_norm=math.inf, learning_rate=0.1, skipped=True)
    log.close()
    assert opened == [(str(tmp_path / "log/tensorboard"), 5), ("closed", 0)]
    assert scalars == [("tokens", 50, 5), ("loss", 1.5, 5), ("lr", 0.1, 5), ("skipped", True, 5)]
