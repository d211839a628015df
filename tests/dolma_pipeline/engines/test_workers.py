"""How many workers, and their environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma_pipeline.engines import workers
from dolma_pipeline.engines.workers import environment, num_workers, worker_variables
from tests.pipeline.tiny import recipe

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("given", "num_bytes", "num_shards", "expected"),
    [
        (3, 10, 1, 3),
        ("auto", workers.SMALL_BYTES, 9, 1),
        ("auto", 10**9, 9, 4),
        ("auto", 10**9, 2, 2),
        ("auto", 0, 0, 1),
    ],
)
def test_workers(
    monkeypatch: pytest.MonkeyPatch, given: int | str, num_bytes: int, num_shards: int, expected: int
) -> None:
    monkeypatch.setattr(workers, "num_cores", lambda: 4)
    assert num_workers(recipe("x", workers=given), num_bytes=num_bytes, num_shards=num_shards) == expected


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_ONE", "1")
    with environment({"OLD_ONE": "2", "NEW_ONE": "3"}):
        assert (os.environ["OLD_ONE"], os.environ["NEW_ONE"]) == ("2", "3")
    assert os.environ["OLD_ONE"] == "1"
    assert "NEW_ONE" not in os.environ


def test_workers_find_this_library_and_nothing_of_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = worker_variables()
    assert found["PYTHONSAFEPATH"] == "1"
    home, rest = found["PYTHONPATH"].split(os.pathsep)
    assert (Path(home) / "dolma_pipeline" / "__init__.py").samefile(ROOT / "dolma_pipeline" / "__init__.py")
    assert rest == "/somewhere"
    monkeypatch.delenv("PYTHONPATH")
    assert worker_variables()["PYTHONPATH"] == home
