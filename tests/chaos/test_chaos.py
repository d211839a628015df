"""Whatever an engine repeats, delays or kills: the same bytes as an undisturbed run.

`make chaos` runs all of it. Of it `make test` runs one scenario of each kind; those marked `slow` take minutes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.hosting import Host
from tests.pipeline.tiny import files, tree

pytestmark = pytest.mark.chaos

BUDGET = {"mix__target_tokens": 9000, "mix__max_epochs": 3}
RULES = {
    "words": "length_v1.words >= 10",
    "calm": "NOT contains(text, 'copper copper')",  # read in the scan
    "unique": "exact.keep AND minhash.keep",
    "alone": "minhash.keep OR contains(text, 'river')",  # read when duplicates are marked
}


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
    run = Run(host, tree(**changes), folder / "run")
    run.again("undisturbed", run.folder, seed=0)
    return run


@pytest.fixture(scope="module")
def host(corpus: Path) -> Iterator[Host]:
    """Loads everything once."""
    host = Host(corpus, "whole")
    yield host
    host.end()


@pytest.fixture(scope="module")
def trained(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With a tokenizer that is trained, a budget and documents."""
    return undisturbed(host, tmp_path_factory.mktemp("trained"), **BUDGET)


@pytest.fixture(scope="module")
def loaded(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With one that is loaded; all that passes is taken, documents are written while they are encoded."""
    tokenizer = {"load": str(trained.folder / "tokenizer" / "tokenizer.json")}
    return undisturbed(trained.host, tmp_path_factory.mktemp("loaded"), tokenizer=tokenizer, mix__where=RULES)


@pytest.fixture(scope="module")
def bare(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Without documents, and with nothing held out."""
    tokenizer = {"load": str(trained.folder / "tokenizer" / "tokenizer.json")}
    without = {"mix__documents": None, "mix__held_out": None}
    return undisturbed(trained.host, tmp_path_factory.mktemp("bare"), tokenizer=tokenizer, **BUDGET, **without)


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
    for kind, message in errors:  # what the launcher took away is named, or the attempt that it took away
        missing = kind == "FileNotFoundError" and f"{output}/cache/" in message
        taken = kind == "RunError" and f"{output}/" in message and "cannot be written: no such file" in message
        assert missing or taken or (kind == "RunError" and "is not done" in message), (kind, message)


PHASES = [
    *("scan", "mix/judge", "dedupe/edges/exact", "dedupe/cluster/exact", "dedupe/edges/minhash"),
    *("dedupe/cluster/minhash", "dedupe/candidates", "dedupe/elect", "dedupe/write", "mix/decide"),
    *("encode", "mix/plan", "write", "mix/close", "tokens/cut", "tokens/parts"),
]
CLOSING = {
    *("scan", "mix/judge", "dedupe/cluster/exact", "dedupe/cluster/minhash", "dedupe/write", "mix/decide"),
    *("tokenizer/make", "mix/close", "tokens/parts"),
}


def test_the_harness_sees_whole_runs(trained: Run, loaded: Run, bare: Run) -> None:
    place = PHASES.index("encode")
    assert list(trained.phases) == [*PHASES[:place], "sample", "tokenizer/make", *PHASES[place:]]
    assert set(loaded.phases) == {*PHASES, "ask", "tokenizer/make"}
    assert set(bare.phases) == {*PHASES, "tokenizer/make"}
    for run in (trained, loaded, bare):
        commits = run.phases
        some = {name: {num for task, num in tasks.items() if task != "finish"} for name, tasks in commits.items()}
        assert {name for name, numbers in some.items() if min(numbers) < 2} == {"mix/close"}
        assert {phase for phase, tasks in commits.items() if tasks["finish"]} - {"ask"} == CLOSING
        assert [path.name for path in (run.folder / "mix").glob("documents")] == ["documents"] * (run is not bare)


def test_everything_twice_at_once(trained: Run, tmp_path: Path) -> None:
    check_twice(trained, tmp_path / "run", seed=1)


def test_a_worker_is_killed_in_every_phase(trained: Run, tmp_path: Path) -> None:
    check_killed(trained, tmp_path / "run", seed=1)


def test_stragglers_in_every_phase(loaded: Run, tmp_path: Path) -> None:
    check_stragglers(loaded, tmp_path / "run", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("recipe", ["trained", "loaded", "bare"])
@pytest.mark.parametrize("check", [check_twice, check_killed, check_stragglers])
def test_other_seeds(request: pytest.FixtureRequest, tmp_path: Path, check: Any, recipe: str, seed: int) -> None:
    check(request.getfixturevalue(recipe), tmp_path / "run", seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
def test_a_worker_is_killed_at_every_commit_of_every_task(
    request: pytest.FixtureRequest, tmp_path: Path, recipe: str
) -> None:
    check_killed(request.getfixturevalue(recipe), tmp_path / "run", seed=7, thorough=True)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
def test_every_task_is_done_again_after_all(request: pytest.FixtureRequest, tmp_path: Path, recipe: str) -> None:
    check_stragglers(request.getfixturevalue(recipe), tmp_path / "run", seed=8, thorough=True)
