"""Segments of logs: whole files, each process its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolma_pipeline.run import log
from dolma_pipeline.run.log import CONTROL, LogSegments, read_segments
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.engines.toys import memory_run


@pytest.fixture(autouse=True)
def _no_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONTROL, raising=False)


def test_rows_wait_until_they_are_flushed_and_come_back_in_order() -> None:
    run = memory_run()
    segments = LogSegments(run)
    for i in range(3):
        segments.add("progress", documents=i, text="é\n")
    assert list(read_segments(run.folder, "progress")) == []
    segments.flush()
    segments.add("progress", documents=9)
    segments.close()
    assert [row["documents"] for row in read_segments(run.folder, "progress")] == [0, 1, 2, 9]
    names = [entry.name for entry in run.folder.list("log/progress")]
    assert [name.rpartition("/")[2] for name in names] == ["000000.jsonl", "000001.jsonl"]


def test_processes_do_not_share_a_segment() -> None:
    run = memory_run()
    one, other = LogSegments(run), LogSegments(run)
    for segments in (one, other):
        segments.event("mix/plan", "begin", tasks=1)
        segments.flush()
    assert len({entry.name.split("/")[2] for entry in run.folder.list("log/events")}) == 2
    rows = list(read_segments(run.folder, "events"))
    assert [(row["step"], row["event"], row["tasks"]) for row in rows] == [("mix/plan", "begin", 1)] * 2
    assert all(row["time"] > 1.7e9 for row in rows)


def test_progress_names_its_phase() -> None:
    run = memory_run()
    segments = LogSegments(run)
    segments.phase = "scan"
    segments.add("progress", documents=1)
    segments.flush()
    assert [row["step"] for row in read_segments(run.folder, "progress")] == ["scan"]


def test_old_rows_are_written_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    run = memory_run()
    segments = LogSegments(run)
    segments.add("progress", documents=1)
    now[0] += log.ELSEWHERE_SECONDS
    segments.add("progress", documents=2)
    assert len(list(read_segments(run.folder, "progress"))) == 2


def test_what_was_seen_is_not_read_again() -> None:
    run = memory_run()
    segments, seen = LogSegments(run), set[str]()
    segments.add("events", n=1)
    segments.flush()
    assert len(list(read_segments(run.folder, "events", seen=seen))) == 1
    segments.add("events", n=2)
    segments.flush()
    assert [row["n"] for row in read_segments(run.folder, "events", seen=seen)] == [2]


def test_a_control_folder_of_this_machine_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTROL, str(tmp_path))
    run = memory_run()
    segments = LogSegments(run)
    segments.add("events", n=1)
    segments.flush()
    assert list(run.folder.list("log")) == []
    assert [row["n"] for row in read_segments(LocalFolder(tmp_path), "events")] == [1]
