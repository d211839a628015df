"""Launchers that begin at once over the lock of one that was killed: one of them works, the others are told."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.local import LocalFolder

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def dead() -> bytes:
    """The lock of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return json.dumps({"token": "1", "host": socket.gethostname(), "process": process.pid}).encode()


class Late(RunLock):
    """One that has just looked at the lock when another comes before it."""

    def __init__(self, folder: RunFolder, other: RunLock) -> None:
        super().__init__(folder)
        self.other = other

    def _held_by(self) -> dict[str, object]:
        found = super()._held_by()
        if found.get("token") == "1":
            self.other.__enter__()
        return found


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_who_looked_before_it_was_taken_over_does_not_take_it(tmp_path: Path, dead: bytes, kind: str) -> None:
    folder = run_folder(str(tmp_path) if kind == "local" else f"memory://{secrets.token_hex(8)}")
    folder.write(layout.LOCK, dead)
    first = RunLock(folder)
    with pytest.raises(UsageError, match=rf"lock\.json: process {os.getpid()} on .* Wait for it"):
        Late(folder, first).__enter__()
    held = folder.read(layout.LOCK)
    assert json.loads(held)["process"] == os.getpid()
    first.__exit__(None, None, None)
    assert folder.stat(layout.LOCK) is None


def test_of_many_at_once_one_works(tmp_path: Path, dead: bytes) -> None:
    for number in range(20):
        folder = LocalFolder(tmp_path / str(number))
        folder.write(layout.LOCK, dead)
        barrier, ends = threading.Barrier(6), list[str]()

        def begin(folder: RunFolder = folder, barrier: threading.Barrier = barrier, ends: list[str] = ends) -> None:
            barrier.wait()
            try:
                RunLock(folder).__enter__()
                folder.remove_attempts()
                ends.append("works")
            except (UsageError, RunError) as error:  # who works may take away what another was writing
                ends.append(f"told of {layout.LOCK}" if layout.LOCK in str(error) else str(error))

        threads = [threading.Thread(target=begin) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ends) == [f"told of {layout.LOCK}"] * 5 + ["works"]
