"""What a run says of itself: exact numbers for comparing runs, and times for people.

`train/metrics.jsonl` has an object a step, with nothing that differs between equal runs; when a run goes on from a
checkpoint the lines after it are cut, so an interrupted run ends with the same bytes. Times and speed go to
`log/train-progress.jsonl` and standard error. `quarantine.jsonl` lists instances that are masked and why.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dolma_pipeline.train.board import open_board
from dolma_pipeline.train.files import Lines, read_lines, train_folder
from dolma_pipeline.train.quarantine import OwnLines
from dolma_pipeline.train.speed import Speed

_SECONDS_BETWEEN = 2.0


class Log:
    """The files that a run writes as it goes; of one process, the first."""

    def __init__(
        self,
        run_dir: Path,
        *,
        step: int,
        num_steps: int,
        batch_tokens: int,
        speed: Speed = Speed(),  # noqa: B008 it is frozen
        device_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        """Cut the files back to `step` and go on from there; device_bytes: peak memory of the process's GPU."""
        self.metrics = Lines(train_folder(run_dir) / "metrics.jsonl", until=step)
        self.quarantine = OwnLines(run_dir, until=step)
        self._progress = Lines(run_dir / "log" / "train-progress.jsonl", until=num_steps)
        self._num_steps, self._batch_tokens = num_steps, batch_tokens
        self._speed, self._device_bytes, self._board = speed, device_bytes, open_board(run_dir, step=step)
        self._shown_step, self._shown_at = step, time.monotonic()

    def step(
        self,
        step: int,
        *,
        loss: float,
        grad_norm: float,
        learning_rate: float,
        skipped: bool,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """One line of `metrics.jsonl`, and now and then a sign of life. Numbers that are not finite become null.

        Args:
            more: what else the line says, such as its stage.
        """
        row: dict[str, Any] = {
            "step": step,
            "tokens": step * self._batch_tokens,
            "loss": loss if math.isfinite(loss) else None,
            "grad_norm": grad_norm if math.isfinite(grad_norm) else None,
            "lr": learning_rate,
            **more,
        }
        if skipped:
            row["skipped"] = True
        self.metrics.append(row)
        if self._board:
            self._board.add(step, row)
        now = time.monotonic()
        if now - self._shown_at >= _SECONDS_BETWEEN or step in (1, self._num_steps):
            num_tokens = (step - self._shown_step) * self._batch_tokens
            device_bytes = self._device_bytes() if self._device_bytes else None
            found = self._speed.row(num_tokens=num_tokens, seconds=now - self._shown_at, device_bytes=device_bytes)
            self._shown_step, self._shown_at = step, now
            self._progress.append({"step": step, "time": time.time(), **found})
            if self._board:
                self._board.add(step, found)
            used = f", {found['utilisation']:.0%} of the peak" if "utilisation" in found else ""
            self.say(
                f"step {step}/{self._num_steps}, loss {loss:.4f}, {found['tokens_per_second']:,.0f} tokens/s{used}"
            )

    def say(self, text: str) -> None:
        """A line for people, on standard error."""
        print(f"train: {text}", file=sys.stderr, flush=True)

    def sync(self) -> None:
        """See that lines are on disk before a checkpoint says so."""
        self.metrics.sync()

    def close(self) -> None:
        """Close all files."""
        self.metrics.close()
        self._progress.close()
        if self._board:
            self._board.close()


def skipped_in_a_row(run_dir: Path, *, until: int) -> int:
    """How many steps up to `until` were skipped one after the other, that one included, as `metrics.jsonl` says."""
    rows = read_lines(train_folder(run_dir) / "metrics.jsonl", until=until)
    return len(rows) - next((i for i in range(len(rows), 0, -1) if not rows[i - 1].get("skipped")), 0)
