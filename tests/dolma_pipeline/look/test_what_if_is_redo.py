"""What `what_if` calls exact is what a run with `redo` then gives: rules changed, removed, added, budgets, seeds."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma_pipeline.config import Recipe
from dolma_pipeline.look.changes import changed
from dolma_pipeline.look.what_if import what_if
from tests.dolma_pipeline.look.conftest import loaded, made
from tests.pipeline import tiny

RULES = [
    *(f"words: length_v1.words >= {n}" for n in (1, 15, 40)),
    "words:",
    "digits: marks_v1.digits < 1",
    "names: len(marks_v1.names) = 0",
    "score: score(marks_v1.asides) = 0 OR chars > 200",
    "first: list_max([x.start for x in marks_v1.names]) > 60 OR len(marks_v1.names) = 0",
    "stars: (metadata->>'$.stars')::INT >= 3",
    "maybe: CASE WHEN chars % 3 = 0 THEN NULL ELSE true END",
    "bytes: bytes < 300 AND source <> 'forum'",
    "unique: exact.keep",
    "unique: minhash.keep OR length_v1.words > 150",
    "unique:",
    "alone: minhash.size = 1 OR minhash.rank = 0",
    "like: minhash.jaccard > 0.95",
    'copies: minhash.cluster = "group" OR exact.keep'.replace('"group"', "minhash.group"),
    "mix.sources.web.where.own: chars > 100",
    "mix.sources.code.skip_rules=[words]",
    "mix.sources.web.min_chars=150",
    "mix.sources.forum.min_chars=100",
]
BUDGETS = [
    "mix.target_tokens=3000",
    "mix.target_tokens=30000",
    "mix.target_bytes=9000",
    "mix.target_documents=90",
    "mix.max_epochs=2.5",
    "mix.held_out.share=0.4",
    "mix.held_out.max_tokens=500",
    "mix.held_out=null",
    "seed=11",
    "mix.replace=[]",
    "mix.sources.web.remove=[]",
]


def folder_says(folder: Path) -> dict[str, dict[str, Any]]:
    """shard -> whether each row passes, and how many copies of it are chosen, from the files alone."""
    found = {}
    for path in sorted((folder / "mix/verdicts").rglob("*.parquet")):
        passes = pq.read_table(path).column("passes").to_numpy(zero_copy_only=False)
        selected = pq.read_table(folder / "mix/selected" / path.relative_to(folder / "mix/verdicts"))
        copies = np.zeros(len(passes), np.int64)
        copies[selected.column("row").to_numpy()] = selected.column("copies").to_numpy()
        found[path.relative_to(folder / "mix/verdicts").as_posix()] = {"passes": passes, "chosen": copies > 0}
    return found


def check(folder: Path, recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Try the changes, then make them, and compare all that was called exact."""
    said = what_if(recipe, changes).record()
    before = folder_says(folder)
    after = changed(recipe, changes)
    manifests = made(after, redo=True).manifests
    now = folder_says(folder)
    for source, one in said["sources"].items():
        counts, plan = manifests["mix"].counts[source], manifests["mix"].record["plan"][source]
        kept = one["after"]
        assert (kept["documents"], kept["bytes"]) == (counts.kept, counts.bytes_kept)
        rules = {name: change["after"] for name, change in one["rules"].items() if change["after"] is not None}
        assert rules == dict(counts.rules)
        for rule, change in one["rules"].items():
            dropped = counts.rules[rule]["any"] if change["after"] else 0
            assert change["dropped"]["documents"] == dropped
            had = change["before"]["any"] if change["before"] else 0
            assert had - dropped == change["gained"]["documents"] - change["lost"]["documents"]
        shards = [name for name in now if name.startswith(f"{source}/")]
        assert one["gained"]["documents"] == moved(before, now, shards, "passes")
        assert one["lost"]["documents"] == moved(now, before, shards, "passes")
        if kept["tokens_exact"]:
            assert (kept["tokens"] or 0) == counts.tokens_kept  # null without a tokenizer
        chosen = one["chosen"]["after"]
        assert chosen["weight"] == plan["weight"]
        if chosen["exact"]:
            for key in ("documents", "bytes", "epochs"):
                assert chosen[key] == plan[key]
            assert chosen["held_out"]["documents"] == counts.held_out
            assert (chosen["cut_by"] == "max_epochs") == plan["limited"]
            assert one["chosen"]["gained"] == moved(before, now, shards, "chosen")
            assert one["chosen"]["lost"] == moved(now, before, shards, "chosen")
        if chosen["exact"] and chosen["tokens_exact"]:
            assert chosen["tokens"] == plan.get("tokens", 0)
    assert what_if(after, []).record()["exact"]
    return after


def moved(a: Mapping[str, Any], b: Mapping[str, Any], shards: Sequence[str], what: str) -> int:
    """Documents that are only in the second."""
    return sum(int((b[shard][what] & ~a[shard][what]).sum()) for shard in shards)


def steps() -> st.SearchStrategy[list[list[str]]]:
    """Some changes at once, several times one after the other."""
    rules = st.lists(st.sampled_from(RULES), max_size=3, unique_by=lambda change: change.partition(":")[0])
    budgets = st.lists(st.sampled_from(BUDGETS), max_size=2, unique_by=lambda change: change[:10])
    weights = st.sampled_from(
        [[], [], ["mix.sources.web.weight=3", "mix.sources.code.weight=1", "mix.target_bytes=20000"]]
    )
    one = st.builds(lambda a, b, c: [*a, *(b if not c else []), *c], rules, budgets, weights)
    return st.lists(one, min_size=1, max_size=3)


def check_all(finished: Path, recipe: Any, all_changes: Sequence[Sequence[str]]) -> None:
    with contextlib.chdir(finished.parent), tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(finished, Path(place) / "run"))
        now = recipe(folder)
        for changes in all_changes:
            some = [c for c in changes if not (c.endswith(":") and c[:-1] not in now.mix.where)]
            words = "words" in now.mix.where or any(c.startswith("words: ") for c in some)
            if not words or "words:" in some:  # a rule that is not there cannot be skipped
                some = [c for c in some if "skip_rules" not in c]
            if any("target" in c or "weight" in c for c in some):
                some += [f"mix.{key}=null" for key in set_targets(now) if not any(key in c for c in some)]
            now = check(folder, now, some)


def set_targets(recipe: Recipe) -> list[str]:
    """Budgets that a recipe has: another one must take their place."""
    assert recipe.mix is not None
    return [f"target_{u}" for u in ("tokens", "bytes", "documents") if getattr(recipe.mix, f"target_{u}") is not None]


BOUNDED = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@BOUNDED
@given(all_changes=steps())
def test_some_changes(finished: Path, all_changes: list[list[str]]) -> None:
    check_all(finished, loaded, all_changes)


@pytest.mark.slow
@settings(BOUNDED, max_examples=60)
@given(all_changes=steps())
def test_many_changes(finished: Path, all_changes: list[list[str]]) -> None:
    check_all(finished, loaded, all_changes)


@settings(BOUNDED, max_examples=2)
@given(all_changes=steps())
def test_with_a_tokenizer_that_is_trained(trained: Path, all_changes: list[list[str]]) -> None:
    check_all(trained, lambda folder: tiny.recipe(folder, tokens=None), all_changes)


def bare(folder: str | Path) -> Recipe:
    """The recipe without a tokenizer: sizes are bytes."""
    return loaded(folder, tokenizer=None, mix__held_out={"share": 0.1, "max_bytes": 4000})


@settings(BOUNDED, max_examples=2)
@given(all_changes=steps())
def test_without_a_tokenizer(finished: Path, all_changes: list[list[str]]) -> None:
    changes = [[c for c in some if "tokens" not in c] for some in all_changes]
    with contextlib.chdir(finished.parent):
        if not Path("bare").exists():
            made(bare("bare"))
    check_all(finished.parent / "bare", bare, changes)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_alone(finished: Path, rule: str) -> None:
    check_all(finished, loaded, [[rule]])


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_budget_alone(finished: Path, budget: str) -> None:
    check_all(finished, loaded, [[budget]])
