"""The same numbers for TensorBoard, where it is installed: events in `log/tensorboard`, for people only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "log/tensorboard"


class Board:
    """Writes scalars; without TensorBoard it is None (`open_board`)."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Go on after a step: TensorBoard leaves out what an earlier process wrote of later ones."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, step: int, row: Mapping[str, Any]) -> None:
        """The numbers of a row, nested ones as `loss_by_source/web`."""
        for name, value in row.items():
            if isinstance(value, Mapping):
                self.add(step, {f"{name}/{key}": each for key, each in value.items()})
            elif isinstance(value, float | int) and name != "step":
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def open_board(run_dir: Path, *, step: int) -> Board | None:
    """A board if TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    return Board(run_dir / FOLDER, step=step)
