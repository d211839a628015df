"""Segments of many processes become the run's logs."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from dolma_pipeline.engines import logs
from dolma_pipeline.engines.logs import join_logs
from dolma_pipeline.run.log import CONTROL, LogSegments
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.engines.toys import memory_run


@pytest.fixture
def run() -> Run:
    return memory_run()


def rows(run: Run, name: str) -> list[int]:
    return [orjson.loads(line)["n"] for line in run.folder.read(name).splitlines()]


def note(log: LogSegments, stream: str, time: float, number: int) -> None:
    log.add(stream, time=time, n=number)
    log.flush()


def test_rows_of_all_processes_by_time_behind_what_was_there(run: Run) -> None:
    one, other = LogSegments(run), LogSegments(run)
    for time, number, log in ((1.0, 1, one), (4.0, 4, one), (2.0, 2, other), (3.0, 3, other), (5.0, 5, one)):
        note(log, "events", time, number)
    note(one, "progress", 1.0, 1)
    join_logs(run.folder)
    assert rows(run, "log/events.jsonl") == [1, 2, 3, 4, 5]
    assert [entry.name for entry in run.folder.list("log")] == ["log/events.jsonl"]
    note(LogSegments(run), "events", 0.5, 6)
    join_logs(run.folder)
    assert rows(run, "log/events.jsonl") == [1, 2, 3, 4, 5, 6]
    join_logs(run.folder)
    assert rows(run, "log/events.jsonl") == [1, 2, 3, 4, 5, 6]


def test_what_was_raised_is_of_the_last_run(run: Run) -> None:
    note(LogSegments(run), "raised", 2.0, 2)
    note(LogSegments(run), "raised", 1.0, 1)
    join_logs(run.folder)
    assert rows(run, "log/raised.jsonl") == [1, 2]
    join_logs(run.folder)
    assert run.folder.stat("log/raised.jsonl") is None


def test_segments_elsewhere_and_what_workers_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogSegments(run)
    monkeypatch.setenv(CONTROL, str(tmp_path))
    note(log, "events", 1.0, 1)
    assert run.folder.stat("log") is None
    for _ in range(2):
        join_logs(run.folder, segments=LocalFolder(tmp_path), workers=b"words\n")
    assert rows(run, "log/events.jsonl") == [1]
    assert run.folder.read("log/workers.txt") == b"words\nwords\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_long_log_is_copied_in_pieces(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = b"".join(b'{"n": %d}\n' % number for number in range(300_000))
    run.folder.write(logs.EVENTS_FILE, before)
    note(LogSegments(run), "events", 1.0, 7)
    join_logs(run.folder)
    assert run.folder.read(logs.EVENTS_FILE) == before + b'{"time":1.0,"n":7}\n'
