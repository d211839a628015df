"""Worker processes: one that dies or raises ends the run at once, nothing is left behind, and its words are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dolma_pipeline.engines.forks import MODULE, SERVERS, ForkServer
from dolma_pipeline.engines.local import Local
from dolma_pipeline.engines.watchdog import descendants
from dolma_pipeline.errors import DataError, WorkerDiedError
from dolma_pipeline.run import perform
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.engines.toys import CHAIN, Bad, CountWords, Many, events, memory_run, promised, toy_run


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOLMA_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return toy_run(LocalFolder(tmp_path / "run"))


def workers() -> list[int]:
    """Worker processes that are at work (killed ones leave at once)."""
    time.sleep(0.2)
    found = []
    for process in set(descendants()) - SERVERS:
        command = Path(f"/proc/{process}/cmdline")
        if command.exists() and ("sdk_worker_main" in (line := command.read_text()) or MODULE in line):
            found.append(process)
    return found


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("kill", "signal SIGKILL), killed from outside, or out of memory. "),
        ("exit", "exit code 0). "),
    ],
)
def test_a_worker_that_dies_ends_the_run_and_its_words_are_kept(
    forked: Local, run: Run, place: Path, act: str, said: str
) -> None:
    begin = time.monotonic()
    with pytest.raises(WorkerDiedError) as caught:
        forked.run(run, [Bad(act=act, where="000006", num_tasks=400, sleep=0.1)])
    assert time.monotonic() - begin < 15
    message = str(caught.value)
    assert message.startswith(f"a worker process ended unasked ({said}Worker log: {run.folder.url}/log/workers.txt. ")
    assert "What is done stays done: the same command resumes." in message
    assert ("Fewer workers need less memory (workers: 1)." in message) is (act == "kill")
    assert b"last words of a worker" in run.folder.read("log/workers.txt")
    assert workers() == []
    assert os.listdir(place) == []
    forked.run(run, [Many(label="toy/other")])


def test_an_error_ends_the_run_at_once(forked: Local, run: Run, place: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"^toy/bad, 000006: 000006 is bad$"):
        forked.run(run, [Bad(where="000006", num_tasks=400, sleep=0.1)])
    assert time.monotonic() - begin < 15
    assert workers() == []
    assert os.listdir(place) == []


def test_workers_that_beam_starts_by_itself_give_the_same_bytes(run: Run, place: Path) -> None:
    """As on systems where a process cannot be copied."""
    plain = memory_run()
    for phase in CHAIN:
        perform.whole(plain, phase)
    Local(2).run(run, CHAIN)
    assert promised(run.folder) == promised(plain.folder)
    assert os.listdir(place) == []
    with pytest.raises(WorkerDiedError, match=r"Worker log: .*/run/log/workers\.txt\."):
        Local(2).run(run, [Bad(act="kill")])
    assert b"last words of a worker" in run.folder.read("log/workers.txt")
    assert workers() == []


def test_both_workers_take_their_share(forked: Local, run: Run) -> None:
    forked.run(run, [CountWords(wait=0.2)])
    rows = run.folder.read("log/events.jsonl").splitlines()
    assert len(events(run.folder)) == len(rows) == 14
    seconds = [float(row.split(b'"time":')[1].split(b",")[0]) for row in rows if b'"task"' in row]
    assert max(seconds) - min(seconds) < 11 * 0.2  # as long as one alone would take between its first and last


def test_progress_is_told(forked: Local, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolma_pipeline.engines.progress.LINE_SECONDS", 0.0)
    said: list[str] = []
    forked.run(run, [CountWords(wait=0.3)], say=said.append)
    assert any("[1/1] toy/words: " in line and "/12 tasks" in line for line in said)


def test_a_server_that_has_died_is_told_of(run: Run) -> None:
    with ForkServer() as forks:
        os.kill(forks._process.pid, 9)
        with pytest.raises(
            WorkerDiedError, match=r"^a worker process ended unasked \(the process that makes workers: "
        ):
            Local(2, forks=forks).run(run, [Many()])
