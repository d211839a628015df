"""Waiting for other processes, and whether they are still there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 90


def wait_for(what: Callable[[], object]) -> None:
    """Until `what()` is true; fails after PATIENCE_SECONDS."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process is there and is no zombie (whose end only its new parent has not asked for yet)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
