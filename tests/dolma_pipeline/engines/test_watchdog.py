"""Errors of a pipeline, without a pipeline; test_local.py has real ones."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dolma_pipeline.engines import watchdog
from dolma_pipeline.engines.reports import as_error
from dolma_pipeline.engines.watchdog import descendants, run_guarded, stopped_by_signals
from dolma_pipeline.errors import DataError, DolmaError, MisalignedError, StageError


def guarded(folder: Path, run: object, **options: object) -> None:
    def raised() -> DolmaError | None:
        path = folder / "raised.json"
        return as_error(json.loads(path.read_text())) if path.exists() else None

    run_guarded(run, raised=raised, worker_log=folder / "said.txt", kept="run/log/workers.txt", **options)  # type: ignore[arg-type]


def leave(folder: Path, error: str, task: str, message: str) -> None:
    row = {"step": "mix/filter", "task": task, "error": error, "message": message, "traceback": "Traceback: here"}
    (folder / "new").write_text(json.dumps(row))
    (folder / "new").rename(folder / "raised.json")


def test_success_polls_and_leaves_nothing(tmp_path: Path) -> None:
    polls: list[float] = []
    guarded(tmp_path, lambda: time.sleep(0.35), each_poll=lambda: polls.append(time.monotonic()))
    assert 3 <= len(polls) <= 6
    assert not (tmp_path / "said.txt").exists()


def test_an_error_of_ours_keeps_its_kind_and_code(tmp_path: Path) -> None:
    def run() -> None:
        leave(tmp_path, "MisalignedError", "web/a", "x.parquet: 3 rows")
        time.sleep(30)

    begin = time.monotonic()
    with pytest.raises(MisalignedError, match=r"^mix/filter, web/a: x\.parquet: 3 rows$") as caught:
        guarded(tmp_path, run)
    assert time.monotonic() - begin < 7
    assert isinstance(caught.value, DataError)
    assert caught.value.exit_code == 1


def test_any_other_error_comes_with_its_traceback(tmp_path: Path) -> None:
    def run() -> None:
        leave(tmp_path, "ZeroDivisionError", "plan", "division by zero")
        raise RuntimeError("Beam's words")

    with pytest.raises(StageError, match=r"^ZeroDivisionError: division by zero\nTraceback: here$"):
        guarded(tmp_path, run)


def test_an_error_of_beam_itself(tmp_path: Path) -> None:
    def run() -> None:
        raise RuntimeError("Beam's words")

    with pytest.raises(
        StageError, match=r"^the pipeline failed: Beam's words\. Worker log: run/log/workers\.txt$"
    ) as caught:
        guarded(tmp_path, run)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_beam_says_goes_to_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = threading.excepthook

    def run() -> None:
        logging.getLogger("apache_beam.runners").error("pages of it")
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()

    guarded(tmp_path, run)
    assert capfd.readouterr().err == ""
    said = (tmp_path / "said.txt").read_text()
    assert said.startswith("pages of it\nin thread ")
    assert "ZeroDivisionError" in said
    assert threading.excepthook is before
    assert logging.getLogger("apache_beam").propagate


def test_descendants() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(20)'])"
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 10
    while len(descendants(process.pid)) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    (grandchild,) = descendants(process.pid)
    assert {process.pid, grandchild} <= set(descendants())
    process.kill()
    process.wait()
    os.kill(grandchild, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt, match=number.name), stopped_by_signals():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), number)  # a second one does not disturb the taking down
            time.sleep(0.05)
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_signals_that_somebody_handles_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def ask() -> None:
        with stopped_by_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_a_worker_that_starts_late_is_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's thread starts one when the run has been ended already."""
    monkeypatch.setattr(watchdog, "_is_worker", lambda process: True)
    started: list[subprocess.Popen[bytes]] = []

    def run() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.6)
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        started[0].wait()

    with pytest.raises(KeyboardInterrupt):
        guarded(tmp_path, run)
    assert started[0].wait(5) == -signal.SIGKILL
