"""Who stays of copies: the case of design.md 4, `prefer`, ties, likeness, and keys that do not depend on neighbours."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.runner import run
from tests.dolma_pipeline.kernels.test_minhash import words_of
from tests.pipeline.tiny import read_jsonl, recipe, sentence, write_documents

pytestmark = pytest.mark.usefixtures("plain")

RNG = random.Random(21)
LONG = [sentence(RNG, 200) for _ in range(4)]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(mine: Path, shards: dict[str, list[str]], **changes: Any) -> None:
    """Run tag, dedupe and mix over shards of texts; `stars` in metadata counts from 0 in each shard."""
    for name, found in shards.items():
        documents = [{"id": f"{name}{i}", "text": text, "metadata": {"stars": i}} for i, text in enumerate(found)]
        write_documents(mine / "in" / f"{name}.jsonl", documents)
    sources = {
        source: {"documents": f"in/{source}/*"} for source in dict.fromkeys(name.split("/")[0] for name in shards)
    }
    settings: dict[str, Any] = {
        "sources": sources,
        "tag": {"taggers": ["length_v1"]},
        "tokenizer": {"train": "bpe", "vocab_size": 300},
        "mix": {"where": {"unique": "exact.keep AND minhash.keep"}},
        "tokens": None,
        **changes,
    }
    run(recipe(mine / "run", **settings), quiet=True)


def column(mine: Path, label: str, shard: str) -> list[dict[str, Any]]:
    return pq.read_table(mine / "run/attributes" / label / f"{shard}.parquet").column(0).to_pylist()


def kept(mine: Path) -> set[str]:
    rows = [row for path in (mine / "run/mix/documents").rglob("*.zst") for row in read_jsonl(path)]
    return {row["origin"] for row in rows}


def test_every_cluster_with_a_good_copy_keeps_one(mine: Path) -> None:
    """A is in both shards; near it is B. The preferred copy of A, and the longer B, fail a rule of the mix."""
    a, near = LONG[0], f"{LONG[0]} one more"
    shards = {"web/a": [a, near, LONG[1]], "web/b": [LONG[2], a, a]}
    rule = {"stars": "(metadata->>'$.stars')::INT >= 1 AND length_v1.words < 202"}
    texts(
        mine, shards, mix__where={**rule, "unique": "exact.keep AND minhash.keep"}, dedupe__prefer="length(text) DESC"
    )
    # web/a#0 is the smallest origin of the exact cluster, but has no star; web/a#1 is the longest, but too long.
    assert [row["keep"] for row in column(mine, "exact", "web/a")] == [False, True, True]
    assert [row["keep"] for row in column(mine, "exact", "web/b")] == [True, True, False]
    assert [row["keep"] for row in column(mine, "minhash", "web/b")] == [True, True, False]
    assert kept(mine) == {"web/b#1", "web/a#2"}
    near_a = column(mine, "minhash", "web/a")
    assert {row["cluster"] for row in near_a[:2]} == {"web/b#1"}  # the one that stays
    assert {row["group"] for row in near_a[:2]} == {"web/a#0"}
    assert (near_a[0]["size"], near_a[2]["size"]) == (4, 1)


def test_a_copy_that_is_too_short_in_its_source_is_no_keeper(mine: Path) -> None:
    """`min_chars` is a rule like the others, and is about the edited text."""
    short = sentence(RNG, 10)
    shards = {"aaa/x": [short, LONG[0]], "web/y": [short, LONG[1]]}
    texts(mine, shards, mix__sources={"aaa": {"min_chars": 200}})
    assert kept(mine) == {"aaa/x#1", "web/y#0", "web/y#1"}


@pytest.mark.parametrize(
    ("prefer", "winner"),
    [
        ([], "web/a#0"),
        ("length(text) DESC", "web/a#0"),  # all equal: the first seen
        ("chars DESC, (metadata->>'$.stars')::INT DESC", "web/b#11"),
        ("(metadata->>'$.stars')::INT DESC", "web/b#11"),
        ("(metadata->>'$.stars')::INT % 3 DESC, (metadata->>'$.stars')::INT DESC", "web/b#11"),
        ("(metadata->>'$.stars')::INT % 3 ASC, (metadata->>'$.stars')::INT DESC", "web/b#9"),
        ("length_v1.words ASC", "web/a#0"),
    ],
)
def test_prefer_and_ties(mine: Path, prefer: str | list[str], winner: str) -> None:
    """Origins are compared by shard, then by number: row 2 comes before row 11."""
    texts(mine, {"web/a": [LONG[0]] * 3, "web/b": [LONG[0]] * 12}, dedupe__prefer=prefer)
    assert kept(mine) == {winner}
    ranks = [row["rank"] for shard in ("web/a", "web/b") for row in column(mine, "exact", shard)]
    assert sorted(ranks) == list(range(15))
    assert {row["cluster"] for row in column(mine, "exact", "web/b")} == {winner}


def test_ties_go_to_the_source_that_comes_first_in_the_recipe(mine: Path) -> None:
    """Not to the one that is first by name; within a source to the first seen."""
    shards = {"web/b": [LONG[0], LONG[1]], "books/z": [LONG[1], LONG[1]], "code/a": [LONG[0], LONG[2], LONG[2]]}
    texts(mine, shards)
    assert kept(mine) == {"web/b#0", "web/b#1", "code/a#1"}
    dropped = [row for path in (mine / "run/mix/dropped").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["origin"]: row["copy_of"] for row in dropped} == {
        "books/z#0": "web/b#1",
        "books/z#1": "web/b#1",
        "code/a#0": "web/b#0",
        "code/a#2": "code/a#1",
    }


def test_a_source_may_be_preferred_whatever_the_order_of_the_recipe(mine: Path) -> None:
    shards = {"web/b": [LONG[0], LONG[1]], "ref/z": [LONG[1], LONG[3]], "code/a": [LONG[0], LONG[1]]}
    texts(mine, shards, dedupe__prefer="source = 'ref' DESC")
    assert kept(mine) == {"web/b#0", "ref/z#0", "ref/z#1"}


def test_jaccard_is_the_likeness_to_the_one_that_stays(mine: Path) -> None:
    words = LONG[0].split()
    changed = [*words[:100], "something", "else", *words[102:]]
    texts(mine, {"web/a": [LONG[0], " ".join(changed), LONG[0].upper(), LONG[3]]})
    near = column(mine, "minhash", "web/a")
    folded = [words_of(" ".join(w).lower()) for w in (words, changed)]
    shingles = [{tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in folded]
    true = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
    keeper = next(i for i, row in enumerate(near[:3]) if row["keep"])
    assert near[keeper]["jaccard"] == 1.0
    assert near[0 if keeper == 1 else 1]["jaccard"] == true
    alone = {"cluster": "web/a#3", "group": "web/a#3", "size": 1, "rank": 0, "keep": True, "jaccard": 1.0}
    assert near[3] == alone
    assert {row["jaccard"] for row in column(mine, "exact", "web/a")} == {1.0}


def test_another_shard_changes_no_other_documents_key(mine: Path) -> None:
    def keys(run_folder: Path) -> dict[str, tuple[int, int]]:
        found = {}
        for path in (run_folder / "mix/selected").rglob("*.parquet"):
            shard = path.relative_to(run_folder / "mix/selected").as_posix().removesuffix(".parquet")
            for row in pq.read_table(path).to_pylist():
                found[f"{shard}#{row['row']}"] = (row["key"], row["held_key"])
        return found

    more = [sentence(RNG, 30) for _ in range(40)]
    held = {"mix__held_out": {"share": 0.2, "max_tokens": 10000}}
    texts(mine, {"web/b": more[:20], "web/c": more[20:]}, **held)
    before = keys(mine / "run")
    texts(mine, {"web/a": [sentence(RNG, 30) for _ in range(20)]}, **held)
    after = keys(mine / "run")
    assert len(after) == 60
    assert {origin: after[origin] for origin in before} == before
    assert len(np.unique([key for key, _ in after.values()])) == 60


def test_a_step_may_be_called_like_a_folder_of_work(mine: Path) -> None:
    steps = [{"name": "elect", "kind": "exact"}, {"name": "edges", "kind": "minhash"}]
    rule = {"unique": "elect.keep AND edges.keep"}
    texts(mine, {"web/a": [LONG[0], LONG[0], LONG[1]]}, dedupe={"steps": steps}, mix={"where": rule})
    assert kept(mine) == {"web/a#0", "web/a#2"}
    assert (mine / "run/dedupe/elect/clusters/members.parquet").is_file()
    assert (mine / "run/dedupe/edges/signatures/web/a.parquet").is_file()


def test_copies_that_pass_are_held_out_together_or_not_at_all(mine: Path) -> None:
    """Without a rule about copies all pass; a cluster is on one side, over shards and sources."""
    originals = [sentence(RNG, 40) for _ in range(30)]
    near = [f"{text} and more" for text in originals]
    shards = {"web/a": originals, "web/b": near, "code/c": [*originals[:15], *near[15:]]}
    texts(mine, shards, mix={"held_out": {"share": 0.3, "max_tokens": 10**6}})
    parts = {}
    for part in ("documents", "held_out"):
        rows = [row for path in sorted((mine / "run/mix" / part).rglob("*.zst")) for row in read_jsonl(path)]
        parts[part] = [originals.index(row["text"].removesuffix(" and more")) for row in rows]
    assert len(parts["documents"]) + len(parts["held_out"]) == 90
    assert 3 <= len(set(parts["held_out"])) <= 20
    assert not set(parts["documents"]) & set(parts["held_out"])


def test_what_any_step_connects_is_held_out_together(mine: Path) -> None:
    """Two steps of other shingles: a near copy of one, and through it of the other, is never on the other side."""
    originals = [sentence(RNG, 40) for _ in range(20)]
    halves = [f"{text} {sentence(RNG, 25)}" for text in originals]
    steps = [
        {"name": "loose", "kind": "minhash", "shingle": 1, "bands": 40, "rows": 2},
        {"name": "tight", "kind": "minhash"},
    ]
    shards = {"web/a": originals, "web/b": [f"{text} end" for text in originals], "web/c": halves}
    texts(mine, shards, dedupe={"steps": steps}, mix={"held_out": {"share": 0.3, "max_tokens": 10**6}})
    sides: dict[str, set[str]] = {"documents": set(), "held_out": set()}
    for part, found in sides.items():
        for path in (mine / "run/mix" / part).rglob("*.zst"):
            for row in read_jsonl(path):
                shard, _, number = row["origin"].rpartition("#")
                found |= {column(mine, step, shard)[int(number)]["cluster"] for step in ("loose", "tight")}
    assert sides["held_out"]
    assert not sides["documents"] & sides["held_out"]
