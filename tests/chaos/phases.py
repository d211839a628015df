"""What the harness knows of a run: phases, and somebody who carries them out. All else is in `adapter.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Phase(Protocol):
    """Work between two barriers of a run; pickles, so that any process can do it."""

    name: str

    def tasks(self) -> list[str]:
        """Keys of what is left to do."""

    def work(self, task: str) -> None:
        """Do one task."""

    def finish(self) -> None:
        """After all tasks."""


Engine = Callable[[Sequence[Phase]], None]
"""Carries out the phases of a run, one after the other."""
