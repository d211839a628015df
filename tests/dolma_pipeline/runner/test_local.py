"""How many workers, which runner, and their environment."""

from __future__ import annotations

import os

import pytest

from dolma_pipeline.runner import local
from tests.pipeline.tiny import recipe


@pytest.mark.parametrize(
    ("workers", "num_bytes", "num_shards", "expected"),
    [(3, 10, 1, 3), ("auto", local.SMALL_BYTES, 9, 1), ("auto", 10**9, 9, 4), ("auto", 10**9, 2, 2), ("auto", 0, 0, 1)],
)
def test_workers(
    monkeypatch: pytest.MonkeyPatch, workers: int | str, num_bytes: int, num_shards: int, expected: int
) -> None:
    monkeypatch.setattr(local, "num_cores", lambda: 4)
    assert local.num_workers(recipe("x", workers=workers), num_bytes=num_bytes, num_shards=num_shards) == expected


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_ONE", "1")
    with local._environment({"OLD_ONE": "2", "NEW_ONE": "3"}):
        assert (os.environ["OLD_ONE"], os.environ["NEW_ONE"]) == ("2", "3")
    assert os.environ["OLD_ONE"] == "1"
    assert "NEW_ONE" not in os.environ
