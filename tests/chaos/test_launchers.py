"""kill -9 of the launcher before any change that it makes itself: the same command heals to the same bytes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.hosting import OTHER, Undisturbed
from tests.pipeline.tiny import FILES, make_documents, tree, write_documents

pytestmark = pytest.mark.chaos

LOST = [
    ["index/web/a.parquet", "attributes/length_v1/shards.jsonl"],
    ["attributes/marks_v1/web/b.parquet", "attributes/exact/web/a.parquet"],
    ["mix/verdicts/web/a.parquet", "mix/plan.json", "tokens/train/part-00001.npy"],
    [
        "dedupe/minhash/clusters/members.parquet",
        "dedupe/minhash/signatures/web/a.parquet",
        "mix/selected/code/c.parquet",
    ],
]
"""Files that somebody deletes from a finished run; more than one at once."""


def lose(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).unlink()


def test_killed_at_its_first_changes(bare: Undisturbed, tmp_path: Path) -> None:
    *killed, (before, whole) = bare.launched(tmp_path / "run", *range(1, 6))
    assert killed == [None] * 5
    assert 5 < before < whole


def test_files_are_lost_after_it_was_killed_before_it_cleared_up(bare: Undisturbed, tmp_path: Path) -> None:
    before, _ = bare.launched(tmp_path / "whole")[0]
    assert bare.launched(tmp_path / "run", before + 2)[0] is None
    lose(tmp_path / "run", LOST[0])
    bare.launched(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
@pytest.mark.parametrize("names", LOST, ids=lambda names: names[0])
@pytest.mark.parametrize("cleared", [True, False])
def test_lost_files(
    request: pytest.FixtureRequest, tmp_path: Path, names: list[str], recipe: str, cleared: bool
) -> None:
    run = request.getfixturevalue(recipe)
    before, _ = run.launched(tmp_path / "first")[0]
    assert (run.launched(tmp_path / "run", *[] if cleared else [before + 2])[0] is None) is not cleared
    lose(tmp_path / "run", names)
    run.launched(tmp_path / "run")


def nothing(run: Undisturbed, folder: Path) -> None:
    """A new run."""


def other(run: Undisturbed, folder: Path) -> None:
    """A finished run of another recipe."""
    asked = {"commits": str(folder.with_name("other.json")), "output": str(folder)}
    run.host("undisturbed", tree=tree(**OTHER, tokenizer=run.tree["tokenizer"]), **asked)


def holes(run: Undisturbed, folder: Path) -> None:
    """A finished run of which files are lost."""
    shutil.copytree(run.folder, folder)
    lose(folder, [name for names in LOST for name in names])


def fewer(run: Undisturbed, folder: Path) -> None:
    """A finished run over fewer files."""
    asked = {"commits": str(folder.with_name("other.json")), "output": str(folder)}
    sources = {**run.tree["sources"], "web": {"documents": "in/web/a*"}}
    run.host("undisturbed", tree={**run.tree, "sources": sources}, **asked)


def changed(run: Undisturbed, folder: Path) -> None:
    """A finished run over the same files, of which two had another content."""
    asked = {"commits": str(folder.with_name("other.json")), "output": str(folder)}
    documents = make_documents()
    for name in ("web/a", "web/b"):
        path = folder.with_name("in") / FILES[name]
        write_documents(path, [{**one, "text": f"{one['text']} gone"} for one in documents[name][:40]])
    sources = {**run.tree["sources"], "web": {"documents": f"{folder.with_name('in')}/web/*"}}
    run.host("undisturbed", tree={**run.tree, "sources": sources}, **asked)


@pytest.mark.slow
@pytest.mark.parametrize("start", [nothing, other, holes, fewer, changed])
@pytest.mark.parametrize("recipe", ["trained", "loaded"])
def test_killed_at_any_change(
    request: pytest.FixtureRequest, tmp_path: Path, recipe: str, start: Callable[[Undisturbed, Path], None]
) -> None:
    run, chance = request.getfixturevalue(recipe), random.Random(3)
    start(run, tmp_path / "start")
    points: list[Any] = [0]
    num_killed = 0
    while points:
        at = points.pop()
        output = tmp_path / f"run-{at}"
        if (tmp_path / "start").exists():
            shutil.copytree(tmp_path / "start", output)
        first, *_ = ends = run.launched(output, *([at] if at else []), redo=start in (other, changed))
        if at == 0:
            before, whole = first
            points = sorted(chance.sample(range(1, before + 1), min(12, before)))
            points += sorted(chance.sample(range(before + 1, whole + 1), 12))
        else:
            assert ends[-1] is not None
            num_killed += first is None
        shutil.rmtree(output)
    assert num_killed == 24
