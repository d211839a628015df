"""One run in a folder at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.storage.local import LocalFolder


def test_the_lock_says_who_and_goes_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), RunLock(LocalFolder(tmp_path / "run")):
        found = json.loads((tmp_path / "run/lock.json").read_text())
        assert (found["host"], found["process"]) == (socket.gethostname(), os.getpid())
        raise RuntimeError("boom")
    assert not (tmp_path / "run/lock.json").exists()


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with RunLock(LocalFolder(tmp_path)):
        with pytest.raises(
            UsageError, match=rf"lock\.json: process {os.getpid()} on .*Wait for it; if it is gone, delete"
        ):
            RunLock(LocalFolder(tmp_path)).__enter__()
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
        with RunLock(LocalFolder(tmp_path)):
            assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()
    else:
        with pytest.raises(UsageError, match="has been at work here since 2026"):
            RunLock(LocalFolder(tmp_path)).__enter__()
        assert json.loads((tmp_path / "lock.json").read_text()) == content


def test_a_zombie_is_gone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / "lock.json").write_text(json.dumps({"host": socket.gethostname(), "process": process.pid}))
    with RunLock(LocalFolder(tmp_path)):
        pass
    process.wait()


def test_a_lock_that_was_cut_off_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text('{"host": "')
    with RunLock(LocalFolder(tmp_path)):
        assert json.loads((tmp_path / "lock.json").read_text())["process"] == os.getpid()


def test_a_lock_that_somebody_else_has_taken_over_is_left_to_him() -> None:
    folder = run_folder("memory://lock-taken-over")
    with pytest.raises(RunError, match="was taken from this run while it worked"), RunLock(folder):
        folder.write("lock.json", b'{"token": "another"}')
    assert folder.read("lock.json") == b'{"token": "another"}'
    folder.delete(["lock.json"])


def test_of_many_at_once_one_gets_it() -> None:
    """And the others are told, by an error or by waiting for nothing."""
    import threading

    folder = run_folder("memory://lock-at-once")
    got: list[RunLock] = []
    refused: list[UsageError] = []
    start = threading.Barrier(8)

    def one() -> None:
        lock = RunLock(folder)
        start.wait()
        try:
            got.append(lock.__enter__())
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].__exit__(None, None, None)
    assert folder.stat("lock.json") is None
