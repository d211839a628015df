"""A lock that is held is written anew; one that was left is taken over; one whose job runs is not."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.engines.jobs import Job
from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.runner import attach
from dolma_pipeline.runner.attach import cancel_job
from dolma_pipeline.runner.lock import RunLock, held_by, is_gone
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.dolma_pipeline.engines.job_server import STATES, JobServer, serving
from tests.dolma_pipeline.runner.test_lock import dead_process

LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Ctrl-C ends what a test waits for, also where a shell began the tests in the background, with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunFolder]:
    folder = run_folder(str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}")
    yield folder
    folder.delete(["lock.json"])


@pytest.fixture
def server() -> Iterator[JobServer]:
    with serving() as service:
        yield service


def lock(folder: RunFolder, *, stale_seconds: float = 600.0) -> RunLock:
    return RunLock(folder, beat_seconds=0.02, stale_seconds=stale_seconds)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen within 20 s"
        time.sleep(0.005)


def left_behind(folder: RunFolder, **more: Any) -> dict[str, Any]:
    """A lock of another machine that nobody writes."""
    content = {"token": "1", "host": "elsewhere", "process": 7, "start": LONG_AGO, "seen": LONG_AGO, **more}
    folder.write("lock.json", json.dumps(content).encode())
    return content


def test_a_lock_that_is_held_is_written_anew_and_says_who(folder: RunFolder) -> None:
    with RunLock(folder, engine="FlinkRunner", beat_seconds=0.02):
        first = folder.stat("lock.json")
        until(lambda: folder.stat("lock.json") != first)
        found = held_by(folder)
        assert found.keys() == {"token", "host", "process", "start", "seen", "engine"}
        assert (found["host"], found["engine"]) == (socket.gethostname(), "FlinkRunner")
    assert folder.stat("lock.json") is None


def test_a_launcher_whose_lock_was_taken_ends(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="was taken from this run while it worked: process 9 on there has it now"):
        with lock(folder):
            folder.write("lock.json", b'{"token": "another", "process": 9, "host": "there"}')
            time.sleep(20)
            raise AssertionError("it went on")
    assert held_by(folder)["token"] == "another"


def test_a_launcher_whose_lock_was_deleted_ends_too(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="was taken from this run while it worked: it is gone"), lock(folder):
        folder.delete(["lock.json"])
        time.sleep(20)
        raise AssertionError("it went on")


def test_what_ended_a_run_is_told_although_its_lock_cannot_be_deleted(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise RunError("the lock cannot be deleted")

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "delete", full)
        with pytest.raises(RunError, match=r"^the disk is full$"), RunLock(folder):
            raise RunError("the disk is full")
        assert capsys.readouterr().err == "warning: the lock cannot be deleted\n"
    folder.delete(["lock.json"])
    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "delete", full)
        with pytest.raises(RunError, match=r"^the lock cannot be deleted$"), RunLock(folder):
            pass


@pytest.mark.parametrize("other", [b"", b'{"token": "another", "process": 9, "host": "there"}'])
def test_a_lock_that_was_taken_since_the_last_beat_is_told_at_the_end(folder: RunFolder, other: bytes) -> None:
    told = "process 9 on there has it now" if other else "it is gone"
    with pytest.raises(RunError, match=f"was taken from this run while it worked: {told}"), RunLock(folder):
        folder.delete(["lock.json"])
        if other:
            folder.write("lock.json", other)
    assert (folder.stat("lock.json") is not None) == bool(other)


@pytest.mark.parametrize("raised", [KeyboardInterrupt("SIGTERM"), RunError("the store does not answer")])
def test_what_ends_a_run_while_the_lock_is_taken_leaves_none(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def ended(self: RunFolder, name: str) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "stat", ended)
        with pytest.raises(type(raised)):
            lock(folder).__enter__()
    assert folder.stat("lock.json") is None


def test_in_another_thread_the_end_of_the_block_tells(folder: RunFolder) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with lock(folder) as held:
                folder.write("lock.json", b"{}")
                until(lambda: held._lost)
        except RunError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "was taken from this run" in str(raised[0])


def test_a_store_that_does_not_answer_for_long_is_a_lost_lock(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> str:
        raise RunError("no answer")

    with pytest.raises(RunError, match="was taken from this run while it worked"), lock(folder, stale_seconds=0.1):
        monkeypatch.setattr(type(folder), "replace", silent)
        time.sleep(20)
        raise AssertionError("it went on")


def test_a_lock_that_nobody_writes_any_more_is_taken_over(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(folder)
    with lock(folder):
        assert held_by(folder)["host"] == socket.gethostname()
    assert f"was last written {LONG_AGO} by process 7 on elsewhere; watching it" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"seen": "2999-01-01T00:00:00Z"}, {"seen": None}, {"seen": "yesterday"}])
def test_a_lock_that_may_be_held_elsewhere_is_not_taken(folder: RunFolder, change: dict[str, Any]) -> None:
    content = left_behind(folder, **change)
    with pytest.raises(
        UsageError, match=r"process 7 on elsewhere has been at work here since .* if it is gone, delete"
    ):
        lock(folder).__enter__()
    assert held_by(folder) == content


def test_a_lock_that_is_written_while_it_is_watched_is_not_taken(folder: RunFolder) -> None:
    """Its clock is wrong, and it lives."""
    left_behind(folder)
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(0.01):
            left_behind(folder, number=(number := number + 1))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UsageError, match=r"process 7 on elsewhere has been at work here"):
            RunLock(folder, beat_seconds=0.1).__enter__()
    finally:
        ended.set()
        thread.join()


def job_of(server: JobServer, state: int) -> dict[str, str]:
    server.states["j"] = state
    return Job("FlinkRunner", "j", endpoint=server.endpoint).record()


@pytest.mark.parametrize("launcher", ["gone here", "gone elsewhere", "alive"])
def test_a_lock_whose_job_runs_is_not_taken(folder: RunFolder, server: JobServer, launcher: str) -> None:
    more = {"host": socket.gethostname(), "process": dead_process()} if launcher == "gone here" else {}
    more |= {"seen": "2999-01-01T00:00:00Z"} if launcher == "alive" else {}
    left_behind(folder, **more, job=job_of(server, STATES.RUNNING))
    gone = "" if launcher == "alive" else ", which is gone"
    with pytest.raises(UsageError, match=f"job j on FlinkRunner has been at work here .*{gone}. Give --attach .*--can"):
        lock(folder).__enter__()
    assert held_by(folder)["token"] == "1"


def test_a_lock_whose_job_has_ended_is_taken_once_its_launcher_is_gone(folder: RunFolder, server: JobServer) -> None:
    content = left_behind(folder, seen="2999-01-01T00:00:00Z", job=job_of(server, STATES.DONE))
    with pytest.raises(
        UsageError, match="job j on FlinkRunner has ended, and process 7 on elsewhere is about to go on"
    ):
        lock(folder).__enter__()
    left_behind(folder, job=content["job"])
    with lock(folder):
        assert "job" not in held_by(folder)


def test_a_lock_whose_job_nobody_knows_is_left_to_people(folder: RunFolder, server: JobServer) -> None:
    left_behind(folder, job=Job("FlinkRunner", "other", endpoint=server.endpoint).record())
    with pytest.raises(UsageError, match=r"job other .* cannot be asked whether it still is.*then delete that file"):
        lock(folder).__enter__()


@pytest.mark.parametrize(
    ("state", "error", "stays"),
    [(STATES.RUNNING, KeyboardInterrupt(), True), (STATES.DONE, RunError("x"), False), (STATES.RUNNING, None, False)],
)
def test_a_launcher_that_is_stopped_leaves_the_lock_to_its_job(
    folder: RunFolder, server: JobServer, capsys: pytest.CaptureFixture[str], state: int, error: Any, stays: bool
) -> None:
    held = lock(folder).__enter__()
    held.names(Job(**job_of(server, state)))
    assert held_by(folder)["job"] == {"runner": "FlinkRunner", "id": "j", "endpoint": server.endpoint}
    held.__exit__(type(error) if error else None, error, None)
    assert (folder.stat("lock.json") is not None) == stays
    assert ("job j on FlinkRunner goes on without this process" in capsys.readouterr().err) == stays


def test_attaching_waits_for_the_job_and_then_for_its_launcher(
    folder: RunFolder, server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    attach.attach(folder, say=said.append)
    assert said == []  # nobody is at work
    server.ends_after = 2
    gone = {"host": socket.gethostname(), "process": dead_process()}
    left_behind(folder, **gone, job=job_of(server, STATES.RUNNING))
    attach.attach(folder, say=said.append, poll_seconds=0.01)
    assert said == ["waiting for job j on FlinkRunner", "job j on FlinkRunner has ended"]
    assert is_gone(held_by(folder))
    with lock(folder):
        pass
    monkeypatch.setattr(attach, "LEAVING_SECONDS", 0.05)
    left_behind(folder, seen="2999-01-01T00:00:00Z", job=job_of(server, STATES.DONE))
    attach.attach(folder, say=said.append, poll_seconds=0.01)
    assert not is_gone(held_by(folder))


def test_cancelling_ends_the_job_of_a_folder(folder: RunFolder, server: JobServer) -> None:
    with pytest.raises(UsageError, match="no run is at work here; there is nothing for --cancel"):
        cancel_job(folder)
    left_behind(folder)
    with pytest.raises(UsageError, match=r"process 7 on elsewhere works here by itself.*Stop that process"):
        cancel_job(folder)
    left_behind(folder, job=job_of(server, STATES.RUNNING))
    assert cancel_job(folder, poll_seconds=0.01).id == "j"
    assert server.states == {"j": STATES.CANCELLED}
    with lock(folder):
        pass
