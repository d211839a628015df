"""Segments of logs: when they are written, and where."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from dolma_pipeline.run import log as log_module
from dolma_pipeline.run.log import CONTROL, LogSegments, read_segments
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.engines.toys import memory_run


@pytest.fixture
def run() -> Run:
    return memory_run()


class Clock:
    """A clock that tests turn."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(log_module, "time", found)
    return found


def names(run: Run) -> list[str]:
    return [entry.name for entry in run.folder.list("log")]


def test_rows_wait_and_are_written_together(run: Run, clock: Clock) -> None:
    log = LogSegments(run)
    log.event("tag", "begin", tasks=3)
    log.add("progress", documents=1, bytes=10)
    assert names(run) == []
    log.flush()
    log.flush()
    log.phase = "tag"
    log.add("progress", documents=2, bytes=20)
    log.close()
    streams = {name.split("/")[1] for name in names(run)}
    assert streams == {"events", "progress"}
    assert sorted(name.rpartition("/")[2] for name in names(run)) == ["000000.jsonl", "000000.jsonl", "000001.jsonl"]
    assert list(read_segments(run.folder, "events")) == [{"time": 1000.0, "step": "tag", "event": "begin", "tasks": 3}]
    assert list(read_segments(run.folder, "progress")) == [
        {"documents": 1, "bytes": 10},
        {"step": "tag", "time": 1000.0, "documents": 2, "bytes": 20},
    ]


@pytest.mark.parametrize(("local", "seconds"), [(True, 0.5), (False, 5.0)])
def test_no_row_gets_old(
    run: Run, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool, seconds: float
) -> None:
    if local:
        monkeypatch.setenv(CONTROL, str(tmp_path))
    folder = LocalFolder(tmp_path) if local else run.folder
    log = LogSegments(run)
    clock.now += seconds - 0.01
    log.add("events", n=1)
    assert list(folder.list("log")) == []
    clock.now += 0.02
    log.add("events", n=2)
    assert [row["n"] for row in read_segments(folder, "events")] == [1, 2]
    log.add("events", n=3)
    clock.now += seconds
    log.flush_old()
    assert [row["n"] for row in read_segments(folder, "events")] == [1, 2, 3]


def test_the_place_may_change_while_a_process_lives(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogSegments(run)
    log.add("events", n=1)
    monkeypatch.setenv(CONTROL, str(tmp_path))
    log.flush()
    assert names(run) == []
    monkeypatch.delenv(CONTROL)
    log.add("events", n=2)
    log.flush()
    assert [row["n"] for row in read_segments(run.folder, "events")] == [2]
    (segment,) = (path for path in tmp_path.rglob("*.jsonl"))
    assert orjson.loads(segment.read_bytes())["n"] == 1


def test_processes_do_not_meet_and_what_was_read_is_not_read_again(run: Run) -> None:
    seen: set[str] = set()
    for number in range(3):
        log = LogSegments(run)
        log.add("events", n=number)
        log.flush()
        assert [row["n"] for row in read_segments(run.folder, "events", seen=seen)] == [number]
    assert len(names(run)) == 3
    assert sorted(row["n"] for row in read_segments(run.folder, "events")) == [0, 1, 2]
