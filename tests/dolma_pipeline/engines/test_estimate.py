"""Time left, from the log of a real run: what was told at each moment against what it took."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.engines.estimate import SURE_SECONDS, Amounts, Estimate
from dolma_pipeline.run.log import EVENTS, PROGRESS

RECORDED = Path(__file__).parents[2] / "golden" / "progress.jsonl.gz"
"""Lines [seconds at which the launcher read it, stream, row]: a reading of 640 shards of five kinds, two workers."""


def recorded() -> list[tuple[float, str, dict[str, Any]]]:
    return [tuple(json.loads(line)) for line in gzip.decompress(RECORDED.read_bytes()).splitlines()]  # type: ignore[misc]


def test_time_left_is_right_within_a_fifth_after_a_minute() -> None:
    rows = recorded()
    end = next(read for read, stream, row in rows if stream == EVENTS and row["event"] == "end")
    estimate, at, checked = Estimate(), 0, 0
    for now in range(5, int(end) - 10, 5):
        while rows[at][0] <= now:
            read, stream, row = rows[at]
            estimate.add(stream, row, read)
            at += 1
        left = estimate.of("scan").seconds_left(now)
        if now >= SURE_SECONDS:
            assert left is not None
            assert abs(left - (end - now)) <= max(0.2 * (end - now), 2), (now, left, end - now)
            checked += 1
    assert checked >= 8
    done = estimate.of("scan")
    assert (done.tasks, done.begun) == (640, rows[0][0])


def begin(tasks: int, *, groups: dict[str, list[int]] | None = None, weight: int = 0) -> dict[str, Any]:
    return {"step": "a", "time": 100.0, "event": "begin", "tasks": tasks, "weight": weight, "groups": groups or {}}


def task(key: str, weight: int, seconds: float, num_bytes: int = 0) -> dict[str, Any]:
    told = {"key": key, "weight": weight, "cpu_seconds": seconds, "bytes": num_bytes}
    return {"step": "a", "time": 100.0, "event": "task", **told}


def left(rows: list[dict[str, Any]], now: float) -> float | None:
    estimate = Estimate()
    for row in rows:
        estimate.add(EVENTS if "event" in row else PROGRESS, row, 0.0)
    return estimate.of("a").seconds_left(now)


def test_kinds_cost_what_their_own_tasks_cost() -> None:
    rows = [begin(8, groups={"web": [4, 400], "code": [4, 400]})]
    rows += [task("web/1", 100, 1.0), task("web/2", 100, 1.0), task("code/1", 100, 9.0), task("code/2", 100, 9.0)]
    assert left(rows, 100.0) == pytest.approx(100.0)
    assert left([*rows, task("web/3", 100, 1.0), task("web/4", 100, 1.0)], 110.0) == pytest.approx(110 * 18 / 22)


def test_a_task_costs_something_whatever_its_weight() -> None:
    heavy = [task(str(number), 1000 + number, 11.0 + number / 100) for number in range(10)]  # 1 s, and 0.01 s a weight
    rows = [begin(30, weight=sum(one["weight"] for one in heavy) + 20 * 100), *heavy]
    cost = sum(one["cpu_seconds"] for one in heavy)
    assert left(rows, cost) == pytest.approx(20 * 2.0)


def test_tasks_at_work_count_by_their_bytes() -> None:
    rows = [begin(4, weight=400), task("1", 100, 10.0, 1000)]
    assert left(rows, 60.0) == pytest.approx(180.0)
    rows.append({"step": "a", "time": 100.0, "documents": 9, "bytes": 2000})
    assert left(rows, 60.0) == pytest.approx(60.0)


def test_loading_is_not_work() -> None:
    rows = [begin(2, weight=200), {"step": "a", "time": 140.0, "documents": 1, "bytes": 10}, task("1", 100, 1.0)]
    assert left(rows, 80.0) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("done", "tasks", "now", "told"),
    [(0, 10, 600.0, False), (1, 100, 59.0, False), (1, 100, 61.0, True), (10, 100, 1.0, True), (10, 10, 61.0, False)],
)
def test_nothing_is_told_before_it_is_known(done: int, tasks: int, now: float, told: bool) -> None:
    rows = [begin(tasks, weight=tasks), *(task(str(number), 1, 1.0) for number in range(done))]
    assert (left(rows, now) is not None) == told
    assert Amounts().seconds_left(now) is None
