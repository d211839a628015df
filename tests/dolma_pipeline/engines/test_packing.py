"""Tasks in bins."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.engines.packing import BIN_BYTES, MAX_BINS, heaviest_first, num_bins, pack
from dolma_pipeline.run.phase import Task


def tasks_of(weights: list[int]) -> list[Task]:
    return [Task(f"{number:04d}", weight) for number, weight in enumerate(weights)]


@given(weights=st.lists(st.integers(0, 1000), max_size=60), bins=st.integers(0, 20))
def test_every_task_is_in_one_bin_and_no_bin_is_much_heavier(weights: list[int], bins: int) -> None:
    tasks = tasks_of(weights)
    packed = pack(tasks, bins)
    assert sorted(task.key for one in packed for task in one) == [task.key for task in tasks]
    assert len(packed) == min(max(1, bins), len(tasks))
    assert all(one == sorted(one, key=lambda task: task.key) for one in packed)
    assert pack(tasks[::-1], bins) == packed
    if tasks:
        sums = [sum(max(1, task.weight) for task in one) for one in packed]
        assert max(sums) - min(sums) <= max(max(1, task.weight) for task in tasks)


def test_heaviest_first() -> None:
    assert [task.key for task in heaviest_first(tasks_of([1, 5, 3, 5]))] == ["0001", "0003", "0002", "0000"]


@pytest.mark.parametrize(
    ("weights", "expected"), [([1] * 3, 64), ([BIN_BYTES] * 70, 70), ([BIN_BYTES * MAX_BINS] * 2, MAX_BINS)]
)
def test_number_of_bins(weights: list[int], expected: int) -> None:
    assert num_bins(tasks_of(weights)) == expected


def test_many_tasks_in_many_bins_cost_little() -> None:
    tasks = tasks_of(list(range(50_000)))
    begin = time.process_time()
    assert len(pack(tasks, 10_000)) == 10_000
    assert time.process_time() - begin < 5  # tasks x bins took minutes
