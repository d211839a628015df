"""Whatever an engine repeats, delays or kills: the same bytes as an undisturbed run.

`make chaos` runs all of it. Of it `make test` runs one scenario of each kind; those marked `slow` take minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.tiny import files, tree

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
BUDGET = {"mix__target_tokens": 9000, "mix__max_epochs": 3}


class Host:
    """The process that carries out the scenarios."""

    def __init__(self, corpus: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "tests/chaos/host.py"],
            cwd=corpus,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, scenario: str, **settings: Any) -> dict[str, Any]:
        """Carry out a scenario; its report."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"scenario": scenario, **settings}) + "\n")
        self.process.stdin.flush()
        report: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in report, report["error"]
        return report

    def end(self) -> None:
        """No more of them."""
        self.process.communicate()
        assert self.process.returncode == 0


@dataclass(frozen=True)
class Run:
    """An undisturbed run: who carried it out, the recipe, what it left, and the commits of each of its tasks."""

    host: Host
    tree: dict[str, Any]
    folder: Path

    @property
    def commits(self) -> Path:
        return self.folder.with_name("commits.json")

    @property
    def phases(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = json.loads(self.commits.read_text(encoding="utf-8"))
        return found

    def again(self, scenario: str, output: Path, *, seed: int, thorough: bool = False) -> dict[str, Any]:
        """The same run under a scenario: the same files; its report."""
        settings = {"output": str(output), "seed": seed, "thorough": thorough}
        report = self.host(scenario, tree=self.tree, commits=str(self.commits), **settings)
        if output != self.folder:
            assert files(output) == files(self.folder)
        return report


def undisturbed(host: Host, folder: Path, **changes: Any) -> Run:
    run = Run(host, tree(**BUDGET, **changes), folder / "run")
    run.again("undisturbed", run.folder, seed=0)
    return run


@pytest.fixture(scope="module")
def host(corpus: Path) -> Iterator[Host]:
    """Loads everything once."""
    host = Host(corpus)
    yield host
    host.end()


@pytest.fixture(scope="module")
def trained(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With a tokenizer that is trained."""
    return undisturbed(host, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def loaded(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With one that is loaded."""
    tokenizer = {"load": str(trained.folder / "tokenizer" / "tokenizer.json")}
    return undisturbed(trained.host, tmp_path_factory.mktemp("loaded"), tokenizer=tokenizer)


def check_twice(run: Run, output: Path, **settings: Any) -> None:
    notes = run.again("twice", output, **settings)["notes"]
    for verb in ("work", "finish"):
        assert {phase for phase, *what in notes if what[:2] == [verb, "twice"]} == set(run.phases)
    assert {phase for phase, *what in notes if what == ["planned again"]} == set(run.phases)


KILLS = ("killed", "outlived")


def check_killed(run: Run, output: Path, **settings: Any) -> None:
    report = run.again("killed", output, **settings)
    tried, killed = (Counter(p for p, what, *_ in report["notes"] if what in of) for of in (KILLS, KILLS[:1]))
    assert set(killed) == set(run.phases)
    if settings.get("thorough"):
        assert tried == {name: sum(num + 2 for num in tasks.values()) for name, tasks in run.phases.items()}
        assert killed.total() > 0.8 * tried.total()
    else:
        assert killed == tried
    assert report["begun"] > 3


def check_stragglers(run: Run, output: Path, **settings: Any) -> None:
    notes = run.again("stragglers", output, **settings)["notes"]
    for done in ("straggles until the end of", "worked again after all", "zombie"):
        assert {phase for phase, what, *_ in notes if what == done} == set(run.phases)
    zombies = [what[1:] for _, *what in notes if what[0] == "zombie"]
    errors = [what for what in zombies if what != ["done"]]
    assert 0 < len(errors) < len(zombies)
    for kind, message in errors:
        assert str(output) in message
        assert kind == "DataError" or ".tmp" in message, message  # or the launcher took away what it was writing


def test_the_harness_sees_the_whole_run(trained: Run) -> None:
    commits = trained.phases
    assert list(commits) == [
        *("tag", "dedupe/sign", "dedupe/edges", "dedupe/cluster", "dedupe/candidates", "dedupe/elect", "dedupe/write"),
        *("tokenizer/sample", "tokenizer/make", "mix/filter", "mix/plan", "mix/write"),
        *("tokens/cut", "tokens/encode", "tokens/parts"),
    ]
    assert all(num >= 2 for tasks in commits.values() for task, num in tasks.items() if task != "finish")
    assert {phase for phase, tasks in commits.items() if tasks["finish"]} == {
        *("tag", "dedupe/cluster", "dedupe/write", "tokenizer/make", "mix/write", "tokens/parts")
    }


def test_everything_twice_at_once(trained: Run, tmp_path: Path) -> None:
    check_twice(trained, tmp_path / "run", seed=1)


def test_a_worker_is_killed_in_every_phase(trained: Run, tmp_path: Path) -> None:
    check_killed(trained, tmp_path / "run", seed=1)


def test_stragglers_in_every_phase(loaded: Run, tmp_path: Path) -> None:
    check_stragglers(loaded, tmp_path / "run", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
@pytest.mark.parametrize("check", [check_twice, check_killed, check_stragglers])
def test_other_seeds(request: pytest.FixtureRequest, tmp_path: Path, check: Any, recipe: str, seed: int) -> None:
    check(request.getfixturevalue(recipe), tmp_path / "run", seed=seed)


@pytest.mark.slow
def test_a_worker_is_killed_at_every_commit_of_every_task(trained: Run, tmp_path: Path) -> None:
    check_killed(trained, tmp_path / "run", seed=7, thorough=True)


@pytest.mark.slow
def test_every_task_is_done_again_after_all(trained: Run, tmp_path: Path) -> None:
    check_stragglers(trained, tmp_path / "run", seed=8, thorough=True)
