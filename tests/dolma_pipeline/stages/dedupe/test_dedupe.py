"""Copies from keys to columns, a step at a time, against plain Python."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup import minhash
from dolma_pipeline.documents import Batch
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready, tidy
from dolma_pipeline.stages.dedupe.election import elections
from dolma_pipeline.stages.dedupe.kinds import KINDS, DedupeKind, kind_of, register_kind
from tests.dolma_pipeline.dedup.test_stars import plain
from tests.dolma_pipeline.stages.small import (
    artifacts_of,
    made,
    make,
    manifest,
    promised,
    rows,
    run_of,
    small_run,
    table,
    write_shards,
)

EXACT = {"name": "exact", "kind": "exact"}
NEAR = {"name": "near", "kind": "minhash", "shingle": 2, "bands": 10, "rows": 3, "threshold": 0.7}


def near_copies(seed: int = 1) -> dict[str, list[str]]:
    """Texts of which many are exact or near copies of each other, in shards of two sources."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(400)]
    pool = [[rng.choice(words) for _ in range(40)] for _ in range(12)]

    def text() -> str:
        found = list(rng.choice(pool))
        for _ in range(rng.choice([0, 0, 1, 2, 12])):
            found[rng.randrange(len(found))] = rng.choice(words)
        return " ".join(found)

    shards = {name: [text() for _ in range(20)] for name in ("web/a", "web/b", "code/c")}
    shards["web/b"][3] = shards["code/c"][5] = ""
    shards["web/a"][7] = shards["code/c"][6] = "one two"
    return {**shards, "code/empty": []}


SHARDS = near_copies()
ORDER = ["code/c", "code/empty", "web/a", "web/b"]
"""Shards in the order in which documents are numbered."""
TEXTS = [text for shard in ORDER for text in SHARDS[shard]]


def components_of(pairs: list[tuple[int, int]]) -> list[set[int]]:
    """What pairs connect, the plain way."""
    groups: list[set[int]] = []
    for pair in pairs:
        joined = [group for group in groups if group & {*pair}]
        groups = [group for group in groups if group not in joined] + [{*pair}.union(*joined)]
    return sorted(groups, key=min)


def exact_pairs(texts: list[str]) -> list[tuple[int, int]]:
    return [(i, j) for i, j in combinations(range(len(texts)), 2) if texts[i] == texts[j] != ""]


def near_buckets(texts: list[str]) -> list[list[int]]:
    """The first documents of their words that have a key in common, band by band."""
    batch = Batch.of(texts)
    minima, signed = minhash.signatures(batch, shingle=2, num_perm=30)
    keys = minhash.band_keys(minima, bands=10, rows=3)
    home = homes(texts)
    found = []
    for band in range(10):
        of_key: dict[int, list[int]] = {}
        for i in np.flatnonzero(signed).tolist():
            if home[i] == i:
                of_key.setdefault(int(keys[i, band]), []).append(i)
        found += sorted(bucket for bucket in of_key.values() if len(bucket) > 1)
    return found


def homes(texts: list[str]) -> list[int]:
    """The first document of each one's words; itself where there is no word."""
    return [texts.index(text) if text else i for i, text in enumerate(texts)]


def shingles_of(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 2]) for i in range(max(1, len(words) - 1))}


def jaccard(a: int, b: int) -> float:
    x, y = shingles_of(TEXTS[a]), shingles_of(TEXTS[b])
    return len(x & y) / len(x | y)


def members(run: Run, step: str, label: str = "label") -> list[set[int]]:
    found: dict[int, set[int]] = {}
    for row in rows(run, f"dedupe/{step}/clusters/members.parquet"):
        found.setdefault(row[label], set()).add(row["node"])
    return sorted(found.values(), key=min)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both kinds of step, done."""
    return made(tmp_path_factory.mktemp("dedupe"), SHARDS, dedupe={"steps": [EXACT, NEAR]})


def test_clusters_are_what_equal_keys_connect(run: Run) -> None:
    assert members(run, "exact") == components_of(exact_pairs(TEXTS))
    assert len(members(run, "exact")) > 3


def test_buckets_are_who_has_a_key_in_common(run: Run) -> None:
    found: dict[int, list[int]] = {}
    for row in rows(run, "dedupe/near/clusters/buckets.parquet"):
        found.setdefault(row["bucket"], []).append(row["member"])
    assert [*found.values()] == near_buckets(TEXTS)
    assert len(found) > 3
    home = homes(TEXTS)
    same = {i for i in range(len(TEXTS)) if home.count(home[i]) > 1}
    expected = same | {node for bucket in found.values() for node in bucket}
    assert [(row["node"], row["home"]) for row in rows(run, "dedupe/near/clusters/members.parquet")] == [
        (i, home[i]) for i in sorted(expected)
    ]


def test_sets_are_those_of_the_rows_in_buckets(run: Run) -> None:
    wanted = {node for bucket in near_buckets(TEXTS) for node in bucket}
    found = {}
    for shard in indexed(run):
        name = f"dedupe/near/sets/{shard.name}.parquet"
        if run.folder.stat(name) is not None:
            for row in rows(run, name):
                found[shard.first + row["row"]] = row["set"]
                assert not row["cut"]
    assert found.keys() == wanted
    for node, one in found.items():
        values = np.frombuffer(one, "<u4")
        assert (np.diff(values.astype(np.int64)) > 0).all()
        assert len(values) == len(shingles_of(TEXTS[node]))


def test_what_the_manifests_count(run: Run) -> None:
    groups = components_of(exact_pairs(TEXTS))
    assert manifest(run, "dedupe/exact")["clusters"] == {"clusters": len(groups), "documents": sum(map(len, groups))}
    found = manifest(run, "dedupe/near")
    assert found["buckets"] == {
        "buckets": len(near_buckets(TEXTS)),
        "documents": len(rows(run, "dedupe/near/clusters/members.parquet")),
        "same_words": sum(home != i for i, home in enumerate(homes(TEXTS))),
    }
    assert found["config"] == {
        "dedupe.steps.near.kind": "minhash", "dedupe.steps.near.shingle": 2, "dedupe.steps.near.bands": 10,
        "dedupe.steps.near.rows": 3,
    }  # fmt: skip
    assert found["files"] == {"signatures": "format 3"}
    assert manifest(run, "attributes/near")["election"]["stopped"] is False


@pytest.mark.parametrize("most", [1, 7, 61])
def test_with_little_memory_the_work_is_cut_into_bands_and_ranges(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("dolma_pipeline.stages.dedupe.edges.BYTES_A_ROW", 4_000_000_000 // most)
    other = small_run(tmp_path, SHARDS, dedupe={"steps": [EXACT, NEAR]})
    make(other)
    assert promised(other) == promised(run)


def origin(number: int) -> str:
    for shard in ORDER:
        if number < len(SHARDS[shard]):
            return f"{shard}#{number}"
        number -= len(SHARDS[shard])
    raise AssertionError


def columns(run: Run, step: str) -> list[dict[str, Any]]:
    return [row[step] for shard in ORDER for row in rows(run, f"attributes/{step}/{shard}.parquet")]


def place(number: int) -> tuple[int, int]:
    """The order without `prefer`: sources as in the recipe, then first seen."""
    return (["web", "code"].index(origin(number).split("/")[0]), number)


def test_columns_of_the_first_step(run: Run) -> None:
    found = columns(run, "exact")
    groups = {node: group for group in components_of(exact_pairs(TEXTS)) for node in group}
    for number in range(len(TEXTS)):
        group = sorted(groups.get(number, {number}), key=place)
        expected = {
            "cluster": origin(group[0]), "group": origin(min(group)), "size": len(group), "rank": group.index(number),
            "keep": group[0] == number, "jaccard": 1.0,
        }  # fmt: skip
        assert found[number] == expected


def test_the_second_step_sees_what_the_first_kept(run: Run) -> None:
    first, found = columns(run, "exact"), columns(run, "near")
    numbers = range(len(TEXTS))
    order = sorted(numbers, key=place)
    candidate = [first[n]["keep"] for n in numbers]
    keeper, likeness, _, _ = plain(
        homes(TEXTS), near_buckets(TEXTS), candidate, [order.index(n) for n in numbers], jaccard, 0.7
    )
    ranked = sorted(numbers, key=lambda n: (not candidate[n], order.index(n)))
    removed = 0
    for n in numbers:
        star = sorted((m for m in ranked if keeper[m] == keeper[n]), key=lambda m: keeper[m] != m)
        one = found[n]
        assert (one["cluster"], one["keep"], one["jaccard"]) == (origin(keeper[n]), keeper[n] == n, likeness[n])
        assert (one["size"], one["rank"]) == (len(star), star.index(n))
        if keeper[n] != n:
            removed += 1
            assert one["group"] == found[keeper[n]]["group"]
            assert jaccard(n, keeper[n]) == one["jaccard"] >= 0.7
    assert removed > 10
    groups = {number: min(group) for group in components_of(exact_pairs(TEXTS)) for number in group}
    assert all(found[n]["group"] <= origin(groups[n]) for n in groups)
    lines = {line["shard"]: line["counts"] for line in read_lines(run.folder, "attributes/near")}
    away = {n for n in numbers if not (first[n]["keep"] and found[n]["keep"])}
    assert sum(line["dropped_so_far"] for line in lines.values()) == len(away)
    assert lines["code/empty"] == {"in": 0, "kept": 0, "dropped": 0, "failed": 0, "dropped_so_far": 0}


def test_signatures_lie_sorted_a_band(run: Run) -> None:
    found = table(run, "dedupe/near/signatures/web/b.parquet")
    assert found.num_rows == 19, "an empty text has no shingles"
    for band in range(10):
        keys = found.column(f"key_{band:02d}").to_numpy()
        assert (np.diff(keys.astype(object)) >= 0).all()
    assert 3 not in found.column("row").to_pylist()


def test_prefer_orders_candidates_and_ties_go_by_source_then_first_seen(tmp_path: Path) -> None:
    documents = {
        "web/a": [{"id": "z", "text": "same same"}, {"id": "m", "text": "same same"}],
        "code/b": [{"id": "a", "text": "same same"}, {"id": "m", "text": "same same"}],
    }
    for prefer, order in ([[], [(0, 0), (0, 1), (1, 0), (1, 1)]], [["id = 'm' DESC"], [(0, 1), (1, 1), (0, 0), (1, 0)]],
                          [["id"], [(1, 0), (0, 1), (1, 1), (0, 0)]]):  # fmt: skip
        run = made(tmp_path, documents, dedupe={"prefer": prefer, "steps": [EXACT]})
        shards = ["web/a", "code/b"]
        ranks = {(s, r): row["exact"]["rank"] for s, name in enumerate(shards)
                 for r, row in enumerate(rows(run, f"attributes/exact/{name}.parquet"))}  # fmt: skip
        assert sorted(ranks, key=ranks.__getitem__) == order


def test_a_good_copy_stays_though_a_worse_one_is_preferred(tmp_path: Path) -> None:
    documents = {"web/a": [{"id": "bad", "text": "t"}, {"id": "good", "text": "t"}, {"id": "good", "text": "t"},
                           {"id": "bad", "text": "u"}, {"id": "bad", "text": "u"}]}  # fmt: skip
    run = made(tmp_path, documents, dedupe={"steps": [EXACT]}, mix={"where": {"a": "id = 'good'", "b": "exact.keep"}})
    assert [row["exact"]["keep"] for row in rows(run, "attributes/exact/web/a.parquet")] == [0, 1, 0, 0, 0]
    assert [row["row"] for row in rows(run, "mix/selected/web/a.parquet")] == [1]
    dropped = rows(run, "mix/dropped/web/a.parquet")
    assert [one["copy_of"] for one in dropped] == ["web/a#1", "web/a#1", "web/a#3", "web/a#3"]


def test_new_shards_meet_the_kept_signatures(tmp_path: Path) -> None:
    """A run that grows has the bytes of one that had all from the start."""
    steps = {"steps": [EXACT, NEAR]}
    some = {name: SHARDS[name] for name in ("web/b", "code/c")}
    run = small_run(tmp_path, some, dedupe=steps)
    make(run)
    tidy(run, artifacts_of(run).values(), keep_work=False)
    write_shards(tmp_path, SHARDS)
    grown = run_of(run.recipe, run.folder)
    artifacts = [*artifacts_of(grown).values()]
    shards = {one.name: one.shard for one in indexed_later(grown)}
    make_ready(grown, [decide(grown, one) for one in artifacts], artifacts, shards)
    signatures = {e: e for e in run.folder.list("dedupe/near/signatures")}
    make(grown)
    after = [*run.folder.list("dedupe/near/signatures")]
    assert [entry for entry in after if entry in signatures] == [*signatures], "not written again"
    assert len(after) == 4
    assert promised(grown) == promised(made(tmp_path, {"web/b": SHARDS["web/b"], **SHARDS}, dedupe=steps))


def indexed_later(run: Run) -> Any:
    from dolma_pipeline.run.shards import listed

    return list(listed(run))


def test_the_same_bytes_however_tasks_are_repeated(tmp_path: Path, run: Run) -> None:
    other = small_run(tmp_path, SHARDS, dedupe={"steps": [EXACT, NEAR]})
    make(other, engine=Here(seed=3, repeated=0.5, again=True))
    assert promised(other) == promised(run)


def test_kinds_are_found_by_name() -> None:
    assert sorted(KINDS) == ["against", "exact", "minhash", "paragraphs", "substring"]
    with pytest.raises(UnknownNameError, match=r"^no dedupe kind named 'minhsh'\. Did you mean 'minhash'"):
        kind_of(DedupeStepConfig(name="x", kind="minhsh"))  # type: ignore[arg-type]

    class Other(type(KINDS["exact"])):  # type: ignore[misc]
        pass

    with pytest.raises(UsageError, match=r"^dedupe kind 'exact' is registered twice: "):
        register_kind(Other())
    assert isinstance(KINDS["exact"], DedupeKind)


numbers = st.integers(0, 14)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.tuples(numbers, numbers), max_size=8), min_size=1, max_size=3),
       st.lists(st.booleans(), min_size=15, max_size=15), st.permutations(range(15)))  # fmt: skip
def test_elections_step_by_step(steps: list[list[tuple[int, int]]], passes: list[bool], order: list[int]) -> None:
    found: dict[str, tuple[Any, Any]] = {}
    groups: list[list[set[int]]] = []
    for i, pairs in enumerate(steps):
        groups.append([group for group in components_of([p for p in pairs if p[0] != p[1]]) if len(group) > 1])
        labels = {node: min(group) for group in groups[-1] for node in group}
        own = sorted(labels)
        found[f"s{i}"] = np.array(own, np.int64), np.array([labels[n] for n in own], np.int64)
    nodes = sorted({node for step in groups for group in step for node in group})
    kept = dict.fromkeys(nodes, True)
    at = np.array(nodes, np.int64)
    place = np.array([order.index(n) for n in nodes], np.int64)
    elected = list(elections(found, at, np.array([passes[n] for n in nodes], np.bool_), place, {}))
    assert [name for name, _ in elected] == [*found]
    edges: list[tuple[int, int]] = []
    for (_, one), step in zip(elected, groups, strict=True):
        expected: dict[int, tuple[int, int, bool, int]] = {}
        for group in step:
            candidates = sorted((n for n in group if passes[n] and kept[n]), key=order.index)
            others = sorted((n for n in group if n not in candidates), key=order.index)
            for rank, node in enumerate([*candidates, *others]):
                stays = rank == 0 and bool(candidates)
                expected[node] = (len(group), rank, stays, [*candidates, *others][0])
            edges += [(min(group), n) for n in group if n != min(group)]
        for i, node in enumerate(one.nodes.tolist()):
            assert (one.size[i], one.rank[i], bool(one.keep[i]), one.keeper[i]) == expected[node]
            kept[node] = kept[node] and expected[node][2]
        together = {node: min(group) for group in components_of(edges) for node in group}
        assert dict(zip(one.group_nodes.tolist(), one.group_labels.tolist(), strict=True)) == together
    away = {int(node) for _, one in elected for node in one.nodes[~one.keep]}
    assert sorted(away) == [n for n in nodes if not kept[n]]


def test_documents_are_numbered_over_shards_without_gaps(run: Run) -> None:
    assert [(one.name, one.first) for one in indexed(run)] == [
        ("code/c", 0), ("code/empty", 20), ("web/a", 20), ("web/b", 40)
    ]  # fmt: skip
