"""Whatever an engine repeats, delays or kills: the same bytes as an undisturbed run.

`make chaos` runs all of it. Of it `make test` runs one scenario of each kind; those marked `slow` take minutes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.hosting import OTHER, Undisturbed

pytestmark = pytest.mark.chaos


def check_twice(run: Undisturbed, output: Path, **settings: Any) -> None:
    notes = run.again("twice", output, **settings)["notes"]
    for verb in ("work", "finish"):
        assert {phase for phase, *what in notes if what[:2] == [verb, "twice"]} == set(run.phases)
    assert {phase for phase, *what in notes if what == ["planned again"]} == set(run.phases)


KILLS = ("killed", "outlived")


def check_killed(run: Undisturbed, output: Path, **settings: Any) -> None:
    report = run.again("killed", output, **settings)
    tried, killed = (Counter(p for p, what, *_ in report["notes"] if what in of) for of in (KILLS, KILLS[:1]))
    assert set(killed) == set(run.phases)
    if settings.get("thorough"):
        assert tried == {name: sum(num + 2 for num in tasks.values()) for name, tasks in run.phases.items()}
        assert killed.total() > 0.8 * tried.total()
    else:
        assert killed == tried
    assert report["begun"] > 3


def check_stragglers(run: Undisturbed, output: Path, **settings: Any) -> None:
    notes = run.again("stragglers", output, **settings)["notes"]
    for done in ("straggles until the end of", "worked again after all", "zombie"):
        assert {phase for phase, what, *_ in notes if what == done} == set(run.phases)
    zombies = [what[1:] for _, *what in notes if what[0] == "zombie"]
    errors = [what for what in zombies if what != ["done"]]
    assert 0 < len(errors) < len(zombies)
    for kind, message in errors:  # what the launcher took away is named, or the attempt that it took away
        missing = kind == "FileNotFoundError" and f"{output}/cache/" in message
        taken = kind == "RunError" and f"{output}/" in message and "cannot be written: no such file" in message
        gone = kind == "DataError" and "needs a file that is gone" in message and f"{output}/" in message
        assert missing or taken or gone or (kind == "RunError" and "is not done" in message), (kind, message)


def check_forgetful(run: Undisturbed, output: Path, **settings: Any) -> None:
    report = run.again("forgetful", output, **settings)
    forgot = [phase for phase, what in report["notes"] if what == "forgot"]
    assert report["begun"] == 1 + len(forgot)
    assert set(forgot) == set(run.phases) if settings.get("thorough") else len(forgot) == 3


def check_abandoned(run: Undisturbed, output: Path, **settings: Any) -> None:
    # Files of the same names: those of a late worker that the new run does not make would stay.
    other = {"where": OTHER["mix__where"], "target_tokens": OTHER["mix__target_tokens"]}
    given_up = {**run.tree, "seed": OTHER["seed"], "mix": {**run.tree["mix"], **other}}
    redone = {**settings, "before": given_up, "tree": {**run.tree, "redo": True}}
    notes = run.again("abandoned", output, **redone)["notes"]
    late = {phase: what[1:] for phase, *what in notes if what[0] == "zombie"}
    assert {"scan", "encode", "tokens/parts", "mix/close"} <= set(late)
    assert ["done"] in late.values()
    anew = {phase for phase, what, *_ in notes if what == "made anew"}
    assert {"mix/judge", "mix/decide", "encode", "mix/plan", "write", "tokens/parts"} <= anew
    assert ("scan" in anew) == ("calm" in run.tree["mix"]["where"])  # a rule that is read there


PHASES = [
    *("scan", "mix/judge", "dedupe/edges/exact", "dedupe/cluster/exact", "dedupe/edges/minhash"),
    *("dedupe/cluster/minhash", "dedupe/sets/minhash", "dedupe/candidates", "dedupe/pairs", "dedupe/verify"),
    *("dedupe/elect", "dedupe/write", "dedupe/check", "mix/decide"),
    *("encode", "mix/plan", "write", "mix/close", "tokens/cut", "tokens/parts"),
]
CLOSING = {
    *("scan", "mix/judge", "dedupe/cluster/exact", "dedupe/cluster/minhash", "dedupe/sets/minhash"),
    *("dedupe/check", "mix/decide"),
    *("tokenizer/make", "mix/close", "tokens/parts"),
}


def test_the_harness_sees_whole_runs(trained: Undisturbed, loaded: Undisturbed, bare: Undisturbed) -> None:
    place = PHASES.index("encode")
    assert list(trained.phases) == [*PHASES[:place], "sample", "tokenizer/make", *PHASES[place:]]
    assert set(loaded.phases) == {*PHASES, "ask", "tokenizer/make"}
    assert set(bare.phases) == {*PHASES, "tokenizer/make"}
    for run in (trained, loaded, bare):
        commits = run.phases
        some = {name: {num for task, num in tasks.items() if task != "finish"} for name, tasks in commits.items()}
        assert {name for name, numbers in some.items() if min(numbers) < 2} == {"mix/close", "dedupe/check"}
        assert {phase for phase, tasks in commits.items() if tasks["finish"]} - {"ask"} == CLOSING
        assert [path.name for path in (run.folder / "mix").glob("documents")] == ["documents"] * (run is not bare)


def test_everything_twice_at_once(trained: Undisturbed, tmp_path: Path) -> None:
    check_twice(trained, tmp_path / "run", seed=1)


def test_a_worker_is_killed_in_every_phase(trained: Undisturbed, tmp_path: Path) -> None:
    check_killed(trained, tmp_path / "run", seed=1)


def test_stragglers_in_every_phase(loaded: Undisturbed, tmp_path: Path) -> None:
    check_stragglers(loaded, tmp_path / "run", seed=1)


def test_workers_of_a_run_that_was_given_up(bare: Undisturbed, tmp_path: Path) -> None:
    check_abandoned(bare, tmp_path / "run", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("recipe", ["trained", "loaded", "bare"])
@pytest.mark.parametrize("check", [check_twice, check_killed, check_stragglers, check_forgetful, check_abandoned])
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


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
def test_the_cache_is_removed_in_every_phase(request: pytest.FixtureRequest, tmp_path: Path, recipe: str) -> None:
    check_forgetful(request.getfixturevalue(recipe), tmp_path / "run", seed=9, thorough=True)
