"""Whatever an engine repeats, delays or kills, over begin, work and end of toy phases: the same bytes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.storage.local import LocalFolder
from tests.chaos.hosting import Host
from tests.dolma_pipeline.engines.toys import CHAIN, TEXTS, expected_total, promised

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

NAMES = {phase.name for phase in CHAIN}


@dataclass(frozen=True)
class Toys:
    """Who carries out the scenarios, and the undisturbed run."""

    host: Host
    folder: Path

    def __call__(self, scenario: str, output: Path, **settings: Any) -> dict[str, Any]:
        """Carry out a scenario; its report."""
        commits = str(self.folder / "commits.json")
        return self.host(scenario, tree={"texts": TEXTS}, commits=commits, output=str(output), **settings)

    def again(self, scenario: str, output: Path, **settings: Any) -> dict[str, Any]:
        """The same run under a scenario: the same files; its report."""
        report = self(scenario, output, **settings)
        assert promised(LocalFolder(output)) == promised(LocalFolder(self.folder / "run"))
        return report

    @property
    def commits(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = json.loads((self.folder / "commits.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    folder = tmp_path_factory.mktemp("undisturbed")
    found = Toys(Host(folder, "toys"), folder)
    found("undisturbed", found.folder / "run")
    yield found
    found.host.end()


def test_the_harness_sees_all_phases_and_their_commits(host: Toys) -> None:
    assert list(host.commits) == [phase.name for phase in CHAIN]
    assert {num for tasks in host.commits.values() for task, num in tasks.items() if task != "finish"} == {2}
    assert {name: tasks["finish"] for name, tasks in host.commits.items()} == {
        "toy/words": 2, "toy/initials": 0, "toy/total": 1,
    }  # fmt: skip
    assert Counter(json.loads((host.folder / "run/total/words.json").read_bytes())) == expected_total()
    assert sorted(os.listdir(host.folder / "run")) == ["in", "total", "words"]


@pytest.mark.parametrize("seed", range(1, 5))
def test_everything_twice_at_once(host: Toys, tmp_path: Path, seed: int) -> None:
    notes = host.again("twice", tmp_path / "run", seed=seed)["notes"]
    for verb in ("work", "finish"):
        assert {phase for phase, *what in notes if what[:2] == [verb, "twice"]} == NAMES
    assert {phase for phase, *what in notes if what == ["planned again"]} == NAMES


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_worker_is_killed_in_every_phase(host: Toys, tmp_path: Path, seed: int) -> None:
    report = host.again("killed", tmp_path / "run", seed=seed)
    assert {phase for phase, what, *_ in report["notes"] if what == "killed"} == NAMES


def test_a_worker_is_killed_at_every_commit_of_every_task(host: Toys, tmp_path: Path) -> None:
    report = host.again("killed", tmp_path / "run", seed=7, thorough=True)
    kills = Counter(phase for phase, what, *_ in report["notes"] if what == "killed")
    assert kills == {name: sum(num + 2 for num in tasks.values()) for name, tasks in host.commits.items()}
    assert report["begun"] > 2


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("seed", range(1, 5))
def test_stragglers_in_every_phase(host: Toys, tmp_path: Path, seed: int, thorough: bool) -> None:
    notes = host.again("stragglers", tmp_path / "run", seed=seed, thorough=thorough)["notes"]
    for done in ("straggles until the end of", "worked again after all", "zombie"):
        assert {phase for phase, what, *_ in notes if what == done} == NAMES
    zombies = [what[1:] for _, *what in notes if what[0] == "zombie"]
    errors = [what for what in zombies if what != ["done"]]
    assert len(errors) < len(zombies)  # how many come to look for what the launcher took away is a matter of time
    told = {"DataError": "needs a file that is gone", "RunError": "cannot be written: no such file"}
    for kind, message in errors:  # what the launcher took away is named, or the attempt that it took away
        assert str(tmp_path / "run") in message
        assert told[kind] in message
