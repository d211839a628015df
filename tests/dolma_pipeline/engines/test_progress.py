"""Progress lines, from the segments that workers leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolma_pipeline.engines import progress as progress_module
from dolma_pipeline.engines.control import Control
from dolma_pipeline.engines.engine import to_stderr
from dolma_pipeline.engines.progress import Progress
from dolma_pipeline.run.log import CONTROL, LogSegments
from tests.dolma_pipeline.engines.toys import memory_run


class Logs:
    """The control folder of a run, with workers that leave segments."""

    def __init__(self, control: Control) -> None:
        self.control, self.run = control, memory_run()
        self.workers = [self.worker() for _ in range(3)]

    def worker(self) -> LogSegments:
        return LogSegments(self.run)

    def event(self, phase: str, event: str, **more: object) -> None:
        self.workers[0].event(phase, event, **more)
        self.workers[0].flush()

    def work(self, worker: int, documents: int, num_bytes: int) -> None:
        log = self.workers[worker]
        log.phase = "mix/filter"
        log.add("progress", documents=documents, bytes=num_bytes)
        log.flush()

    def progress(self, *phases: str, quiet: bool = False) -> Progress:
        return Progress(self.control.folder, phases, say=None if quiet else to_stderr)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logs:
    monkeypatch.setenv(CONTROL, str(tmp_path))
    return Logs(Control(tmp_path))


class Clock:
    """A clock that tests turn."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress_module, "time", found)
    return found


def test_a_plain_line_every_ten_seconds(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = logs.progress("tag", "mix/filter")
    logs.event("mix/filter", "begin", tasks=4)
    clock.now += 1
    shown.poll()
    assert capsys.readouterr().err == ""
    logs.work(1, 1500, 6_000_000)
    logs.work(2, 300, 3_000_000)
    logs.work(2, 200, 1_000_000)
    logs.event("mix/filter", "task", key="web/a")
    clock.now += 10
    shown.poll()
    assert capsys.readouterr().err == "[2/2] mix/filter: 2,000 documents, 1.0 MB/s, 1/4 tasks, about 30 s left\n"
    logs.work(2, 1, 0)
    clock.now += 9
    shown.poll()
    assert capsys.readouterr().err == ""
    clock.now += 2
    shown.poll()
    assert "2,001 documents" in capsys.readouterr().err


def test_what_comes_late_counts_for_its_own_phase(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = logs.progress("mix/filter", "mix/plan")
    logs.event("mix/filter", "begin", tasks=4)
    logs.event("mix/plan", "begin", tasks=2)
    logs.work(1, 1500, 0)
    assert line(clock, capsys, shown, 1) == "[2/2] mix/plan: 0 documents, 0/2 tasks"


def test_quiet_shows_nothing(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with logs.progress("tag", quiet=True) as shown:
        logs.event("tag", "begin", tasks=1)
        clock.now += 60
        shown.poll()
    assert capsys.readouterr().err == ""


def test_a_terminal_has_one_live_line(
    logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with logs.progress("tag") as shown:
        clock.now += 1
        shown.poll()
        logs.event("tag", "begin", tasks=2)
        clock.now += 0.1
        shown.poll()
        clock.now += 1
        shown.poll()
    assert capsys.readouterr().err == (
        "\r\x1b[2Kstarting: 0 documents, 0/0 tasks\r\x1b[2K[1/1] tag: 0 documents, 0/2 tasks\r\x1b[2K"
    )


def line(clock: Clock, capsys: pytest.CaptureFixture[str], shown: Progress, after: float) -> str:
    """The line that is shown when so many seconds have gone by."""
    clock.now += after
    shown.terminal, shown.polled = True, 0.0
    shown.poll()
    return capsys.readouterr().err.removeprefix("\r\x1b[2K")


def test_a_phase_of_one_task_is_at_work(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = logs.progress("tag", "tokenizer/make")
    logs.event("tokenizer/make", "begin", tasks=1)
    assert line(clock, capsys, shown, 1) == "[2/2] tokenizer/make: working, 0 s"
    assert line(clock, capsys, shown, 12) == "[2/2] tokenizer/make: working, 12 s"


def test_no_rate_in_the_first_second(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = logs.progress("mix/filter")
    logs.event("mix/filter", "begin", tasks=4)
    logs.work(1, 10, 9_000_000)
    assert line(clock, capsys, shown, 1) == "[1/1] mix/filter: 10 documents, 0/4 tasks"
    assert line(clock, capsys, shown, 0.9) == "[1/1] mix/filter: 10 documents, 0/4 tasks"
    assert line(clock, capsys, shown, 0.6) == "[1/1] mix/filter: 10 documents, 6.0 MB/s, 0/4 tasks"


def test_time_left_after_a_tenth(logs: Logs, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = logs.progress("mix/filter")
    logs.event("mix/filter", "begin", tasks=20)
    logs.event("mix/filter", "task", key="web/a")
    line(clock, capsys, shown, 1)
    assert line(clock, capsys, shown, 5) == "[1/1] mix/filter: 0 documents, 1/20 tasks"
    logs.event("mix/filter", "task", key="web/b")
    assert line(clock, capsys, shown, 5) == "[1/1] mix/filter: 0 documents, 2/20 tasks, about 90 s left"


def test_verbose_names_each_phase(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dolma_pipeline")
    with logs.progress("tag", "mix/filter"):
        logs.event("tag", "begin", tasks=4)
        logs.event("mix/filter", "begin", tasks=2)
    assert caplog.messages == ["tag begins, tasks: 4", "mix/filter begins, tasks: 2"]


def test_segments_in_a_store_are_read_where_they_are(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run = memory_run()
    workers = [LogSegments(run) for _ in range(2)]
    shown = Progress(run.folder, ["scan"], say=to_stderr, seconds=5.0)
    workers[0].event("scan", "begin", tasks=4)
    for one, log in enumerate(workers):
        log.phase = "scan"
        log.add("progress", documents=10 + one, bytes=1_000_000)
        log.event("scan", "task", key=str(one))
        log.flush()
    clock.now += 4
    shown.poll()
    assert shown.estimate.current == "", "not before five seconds"
    clock.now += 7
    shown.poll()
    assert capsys.readouterr().err.startswith("[1/1] scan: 21 documents, ")
    workers[1].add("progress", documents=1, bytes=0)
    workers[1].flush()
    clock.now += 10
    shown.poll()
    assert "scan: 22 documents" in capsys.readouterr().err
