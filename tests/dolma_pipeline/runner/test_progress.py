"""Progress lines, from what workers append."""

from __future__ import annotations

from pathlib import Path

import pytest
from dolma_pipeline.runner.progress import Progress
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import append_line, log_event

from dolma_pipeline.runner import progress as progress_module
from tests.pipeline.tiny import recipe


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(recipe(tmp_path), str(tmp_path))


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


def work(context: RunContext, worker: int, documents: int, num_bytes: int) -> None:
    path = context.path / "log/progress" / f"{worker}.jsonl"
    append_line(path, {"step": "mix/filter", "documents": documents, "bytes": num_bytes})


def test_a_plain_line_every_ten_seconds(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    log_event(context, "mix/filter", "begin", tasks=99)  # of a run before
    shown = Progress(context, ["tag", "mix/filter"], quiet=False)
    log_event(context, "mix/filter", "begin", tasks=4)
    clock.now += 1
    shown.poll()
    assert capsys.readouterr().err == ""
    work(context, 1, 1500, 6_000_000)
    work(context, 2, 500, 4_000_000)
    log_event(context, "mix/filter", "task", key="web/a")
    (context.path / "log/progress/2.jsonl").open("a").write('{"step": "mix/fil')  # half a line
    clock.now += 10
    shown.poll()
    assert capsys.readouterr().err == "[2/2] mix/filter: 2,000 documents, 1.0 MB/s, 1/4 tasks, about 30 s left\n"
    (context.path / "log/progress/2.jsonl").open("a").write('ter", "documents": 1, "bytes": 0}\n')
    clock.now += 9
    shown.poll()
    assert capsys.readouterr().err == ""
    clock.now += 2
    shown.poll()
    assert "2,001 documents" in capsys.readouterr().err


def test_quiet_shows_nothing(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(context, ["tag"], quiet=True) as shown:
        log_event(context, "tag", "begin", tasks=1)
        clock.now += 60
        shown.poll()
    assert capsys.readouterr().err == ""


def test_a_terminal_has_one_live_line(
    context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(context, ["tag"], quiet=False) as shown:
        clock.now += 1
        shown.poll()
        log_event(context, "tag", "begin", tasks=2)
        clock.now += 0.1
        shown.poll()
        clock.now += 1
        shown.poll()
    assert capsys.readouterr().err == (
        "\r\x1b[2Kstarting: 0 documents, 0/0 tasks\r\x1b[2K[1/1] tag: 0 documents, 0/2 tasks\r\x1b[2K"
    )


def test_counts_of_a_run_before_are_taken_away(context: RunContext) -> None:
    work(context, 1, 5, 5)
    Progress(context, ["tag"], quiet=True)
    assert not (context.path / "log/progress").exists()


def line(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str], shown: Progress, after: float) -> str:
    """The line that is shown when so many seconds have gone by."""
    clock.now += after
    shown.terminal, shown.polled = True, 0.0
    shown.poll()
    return capsys.readouterr().err.removeprefix("\r\x1b[2K")


def test_a_step_of_one_task_is_at_work(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(context, ["tag", "tokenizer/make"], quiet=False)
    log_event(context, "tokenizer/make", "begin", tasks=1)
    assert line(context, clock, capsys, shown, 1) == "[2/2] tokenizer/make: working, 0 s"
    assert line(context, clock, capsys, shown, 12) == "[2/2] tokenizer/make: working, 12 s"


def test_no_rate_in_the_first_second(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(context, ["mix/filter"], quiet=False)
    log_event(context, "mix/filter", "begin", tasks=4)
    work(context, 1, 10, 9_000_000)
    assert line(context, clock, capsys, shown, 1) == "[1/1] mix/filter: 10 documents, 0/4 tasks"
    assert line(context, clock, capsys, shown, 0.9) == "[1/1] mix/filter: 10 documents, 0/4 tasks"
    assert line(context, clock, capsys, shown, 0.6) == "[1/1] mix/filter: 10 documents, 6.0 MB/s, 0/4 tasks"


def test_time_left_after_a_tenth(context: RunContext, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(context, ["mix/filter"], quiet=False)
    log_event(context, "mix/filter", "begin", tasks=20)
    log_event(context, "mix/filter", "task", key="web/a")
    line(context, clock, capsys, shown, 1)
    assert line(context, clock, capsys, shown, 5) == "[1/1] mix/filter: 0 documents, 1/20 tasks"
    log_event(context, "mix/filter", "task", key="web/b")
    assert line(context, clock, capsys, shown, 5) == "[1/1] mix/filter: 0 documents, 2/20 tasks, about 90 s left"


def test_verbose_names_each_step(context: RunContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dolma_pipeline")
    with Progress(context, ["tag", "mix/filter"], quiet=False):
        log_event(context, "tag", "begin", tasks=4)
        log_event(context, "mix/filter", "begin", tasks=2)
    assert caplog.messages == ["tag begins, tasks: 4", "mix/filter begins, tasks: 2"]
