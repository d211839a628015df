"""One run in a folder at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.runner.lock import RunLock


def test_the_lock_says_who_and_goes_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), RunLock(tmp_path / "run"):
        found = json.loads((tmp_path / "run/lock.json").read_text())
        assert (found["host"], found["process"]) == (socket.gethostname(), os.getpid())
        raise RuntimeError("boom")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        with pytest.raises(
            UsageError, match=rf"lock\.json: process {os.getpid()} on .*Wait for it; if it is gone, delete"
        ):
            RunLock(tmp_path).__enter__()
        assert (tmp_path / "lock.json").exists()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("host", "process", "taken"),
    [("here", "dead", True), ("here", "alive", False), ("elsewhere", "dead", False), ("here", "nobody", True)],
)
def test_only_a_lock_whose_process_is_known_to_be_gone_is_taken_over(
    tmp_path: Path, host: str, process: str, taken: bool
) -> None:
    number = {"dead": dead_process(), "alive": os.getppid(), "nobody": None}[process]
    content = {"host": socket.gethostname() if host == "here" else "elsewhere", "process": number, "start": "2026"}
    (tmp_path / "lock.json").write_text(json.dumps(content))
    if taken:
        with RunLock(tmp_path):
            assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()
    else:
        with pytest.raises(UsageError, match="has been at work here since 2026"):
            RunLock(tmp_path).__enter__()
        assert json.loads((tmp_path / "lock.json").read_text()) == content


def test_a_zombie_is_gone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / "lock.json").write_text(json.dumps({"host": socket.gethostname(), "process": process.pid}))
    with RunLock(tmp_path):
        pass
    process.wait()


def test_a_lock_that_was_cut_off_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text('{"host": "')
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()
