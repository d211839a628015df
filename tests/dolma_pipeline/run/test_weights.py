"""Tasks counted as they stream by."""

from __future__ import annotations

import pytest

from dolma_pipeline.run.phase import Task
from dolma_pipeline.run.weights import MOST_GROUPS, Weights, group_of


@pytest.mark.parametrize(("key", "group"), [("web/a/b", "web"), ("all", ""), ("/x", "")])
def test_groups(key: str, group: str) -> None:
    assert group_of(key) == group


def test_tasks_and_weight_by_group() -> None:
    tasks = [Task("web/1", 5), Task("code/1", 7), Task("web/2", 1)]
    counted = Weights()
    assert list(counted.seen(iter(tasks))) == tasks
    assert (counted.tasks, counted.weight) == (3, 13)
    assert counted.groups == {"web": [2, 6], "code": [1, 7]}


def test_more_groups_than_sources_are_one_kind() -> None:
    counted = Weights()
    few = [Task(f"{number}/x", 2) for number in range(MOST_GROUPS)]
    assert len(list(counted.seen(few))) == len(counted.groups) == MOST_GROUPS
    list(counted.seen([Task("one more/x", 2)]))
    assert counted.groups == {}
    assert counted.weight == 2 * (MOST_GROUPS + 1)
