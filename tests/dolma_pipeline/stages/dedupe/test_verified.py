"""Verified near-duplicates as a run makes them: nothing goes without a copy, and only a changed text is read again."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.dedup import stars
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.run import columns as run_columns
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import listed
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready, tidy
from dolma_pipeline.stages.dedupe import election, likeness, verify
from dolma_pipeline.stages.dedupe.likeness import pieces
from dolma_pipeline.stages.dedupe.stage import DedupeStage
from tests.dolma_pipeline.kernels.test_minhash import words_of
from tests.dolma_pipeline.stages.small import (
    artifacts_of,
    made,
    make,
    manifest,
    promised,
    rows,
    run_of,
    small_run,
    write_shards,
)

NEAR = {"name": "near", "kind": "minhash"}


def sentence(rng: random.Random, words: int) -> list[str]:
    return [f"w{rng.randrange(50_000)}" for _ in range(words)]


def template(rng: random.Random, pages: int, *, fixed: int, own: int) -> list[str]:
    """Pages that share `fixed` words and have `own` of their own: J of two is about fixed / (fixed + 2 own)."""
    head = sentence(rng, fixed)
    return [" ".join([*head, *sentence(rng, own)]) for _ in range(pages)]


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = [word.lower() for word in words_of(text)]
    return {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}


def jaccard(a: str, b: str) -> float:
    x, y = shingles(a), shingles(b)
    return len(x & y) / len(x | y)


def marks(run: Run, shards: Mapping[str, Sequence[Any]], step: str = "near") -> dict[str, dict[str, Any]]:
    """Origin -> column."""
    return {
        f"{shard}#{i}": row[step]
        for shard in shards
        for i, row in enumerate(rows(run, f"attributes/{step}/{shard}.parquet"))
    }


def texts_of(shards: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {f"{s}#{i}": one if isinstance(one, str) else one["text"] for s, some in shards.items()
            for i, one in enumerate(some)}  # fmt: skip


@pytest.mark.parametrize(("fixed", "own", "goes"), [(180, 36, False), (180, 16, True)])
def test_pages_of_one_template(tmp_path: Path, fixed: int, own: int, goes: bool) -> None:
    """J 0.70 to each other: closure would take nearly all of them; J 0.83: nearly all are copies of some."""
    pages = template(random.Random(5), 600, fixed=fixed, own=own)
    like = jaccard(pages[0], pages[1])
    assert 0.69 < like < 0.72 if not goes else 0.82 < like < 0.85
    shards = {"web/a": pages[:300], "web/b": pages[300:]}
    found = marks(made(tmp_path, shards, dedupe={"steps": [NEAR]}), shards)
    gone = [origin for origin, one in found.items() if not one["keep"]]
    assert len({one["group"] for one in found.values()}) == (1 if goes else 600)
    if not goes:
        assert gone == []
        return
    assert len(gone) > 590
    texts = texts_of(shards)
    assert all(jaccard(texts[o], texts[found[o]["cluster"]]) >= 0.8 for o in gone)


def test_identical_documents_need_no_set_and_are_no_bucket(tmp_path: Path) -> None:
    page = " ".join(sentence(random.Random(1), 80))
    shards = {"web/a": [page] * 40, "web/b": [page.upper(), f"{page}!"] * 20}
    run = made(tmp_path, shards, dedupe={"steps": [NEAR]})
    assert manifest(run, "dedupe/near")["buckets"] == {"buckets": 0, "documents": 80, "same_words": 79}
    assert not [e for e in run.folder.list("dedupe/near/sets") if e.name.endswith(".parquet")]
    found = marks(run, shards)
    assert [origin for origin, one in found.items() if one["keep"]] == ["web/a#0"]
    assert {(one["cluster"], one["size"], one["jaccard"]) for one in found.values()} == {("web/a#0", 80, 1.0)}


def test_texts_shorter_than_a_shingle_are_copies_only_if_their_words_are_the_same(tmp_path: Path) -> None:
    shards = {"web/a": ["one two", "One, two!", "one two three", "two one", "", "?!", "one two"]}
    found = marks(made(tmp_path, shards, dedupe={"steps": [NEAR]}), shards)
    assert [one["keep"] for one in found.values()] == [True, False, True, True, True, True, False]
    assert [found[f"web/a#{i}"]["cluster"] for i in (1, 6)] == ["web/a#0"] * 2


def test_containment_finds_the_shorter_one(tmp_path: Path) -> None:
    words = sentence(random.Random(3), 300)
    shards = {"web/a": [" ".join(words[:230]), " ".join(words)]}
    for verify_by, goes in (("jaccard", False), ("containment", True)):
        step = {**NEAR, "verify": verify_by, "bands": 40, "rows": 3}
        found = marks(made(tmp_path, shards, dedupe={"prefer": "chars DESC", "steps": [step]}), shards)
        assert [one["keep"] for one in found.values()] == [not goes, True]
    assert found["web/a#0"]["jaccard"] == 1.0


def family(rng: random.Random) -> list[str]:
    """A text, and others of it with more and more words replaced: some near enough, some not."""
    words = sentence(rng, 120)
    found = [" ".join(words)]
    for changes in (1, 1, 2, 3, 5):
        words = list(words)
        for _ in range(changes):
            words[rng.randrange(len(words))] = f"x{rng.randrange(10**6)}"
        found.append(" ".join(words))
    return found


def families(count: int = 25) -> dict[str, list[dict[str, Any]]]:
    rng = random.Random(17)
    documents = [{"text": text, "metadata": {"stars": rng.randrange(5)}} for _ in range(count) for text in family(rng)]
    rng.shuffle(documents)
    for i, one in enumerate(documents):
        one["id"] = f"d{i}"
    third = len(documents) // 3
    return {"web/a": documents[:third], "web/b": documents[third : 2 * third], "code/c": documents[2 * third :]}


FAMILIES = families()
WHERE = {"stars": "(metadata->>'$.stars')::INT >= 1"}


def recipe(**more: Any) -> dict[str, Any]:
    return {
        "dedupe": {"prefer": "(metadata->>'$.stars')::INT DESC", "steps": [{**NEAR, **more}]},
        "mix": {"where": WHERE},
    }


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_what_went_has_a_good_copy_that_stays(tmp_path: Path, threshold: float) -> None:
    found = marks(made(tmp_path, FAMILIES, **recipe(threshold=threshold, bands=16, rows=6)), FAMILIES)
    texts = texts_of(FAMILIES)
    stars = {f"{s}#{i}": one["metadata"]["stars"] for s, some in FAMILIES.items() for i, one in enumerate(some)}
    gone = {origin: one for origin, one in found.items() if not one["keep"]}
    assert len(gone) > 20
    for origin, one in gone.items():
        keeper = one["cluster"]
        assert found[keeper]["keep"]
        assert stars[keeper] >= 1
        assert stars[keeper] >= stars[origin]
        assert one["jaccard"] == jaccard(texts[origin], texts[keeper]) >= threshold
        assert one["group"] == found[keeper]["group"]
    assert min(one["jaccard"] for one in gone.values()) < 0.95


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("verified"), FAMILIES, **recipe())


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_bytes_in_small_pieces_shuffled_and_repeated(
    tmp_path: Path, done: Run, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("dolma_pipeline.stages.dedupe.edges.BYTES_A_ROW", 4_000_000_000 // 17)
    monkeypatch.setattr(verify, "PAIRS_A_TASK", 7)
    monkeypatch.setattr(likeness, "PAIRS", 5)
    monkeypatch.setattr(likeness, "SET_BYTES", 1500)
    other = small_run(tmp_path, FAMILIES, **recipe())
    make(other, engine=Here(seed=seed, repeated=0.5, again=True))
    assert promised(other) == promised(done)


def test_the_same_decisions_over_other_shards(tmp_path: Path, done: Run) -> None:
    """Documents of one source in one shard or in many: the same keepers, in the order of the documents."""
    whole = {"web/a": [*FAMILIES["web/a"], *FAMILIES["web/b"]], "code/c": FAMILIES["code/c"]}
    found, before = marks(made(tmp_path, whole, **recipe()), whole), marks(done, FAMILIES)
    names = dict(zip(before, found, strict=True))
    for old, new in names.items():
        expected = {**before[old], "cluster": names[before[old]["cluster"]], "group": names[before[old]["group"]]}
        assert found[new] == expected


def test_the_election_verifies_what_nobody_has_before(
    tmp_path: Path, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolma_pipeline.stages.dedupe.elect.known_pairs", lambda *_: {})
    other = small_run(tmp_path, FAMILIES, **recipe())
    make(other)
    assert promised(other) == promised(done)


def test_a_run_that_grows_reads_again_what_has_new_relatives(tmp_path: Path) -> None:
    some = {name: FAMILIES[name] for name in ("web/b", "code/c")}
    run = small_run(tmp_path, some, **recipe())
    make(run)
    tidy(run, artifacts_of(run).values(), keep_work=False)
    write_shards(tmp_path, FAMILIES)
    grown = run_of(run.recipe, run.folder)
    artifacts = [*artifacts_of(grown).values()]
    shards = {one.name: one.shard for one in listed(grown)}
    decisions = [decide(grown, one) for one in artifacts]
    assert {d.artifact.name: d.state for d in decisions}["dedupe/near/sets"] == "grow"
    make_ready(grown, decisions, artifacts, shards)
    make(grown)
    assert promised(grown) == promised(made(tmp_path, {"web/b": FAMILIES["web/b"], **FAMILIES}, **recipe()))


def test_growing_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """After some shards were made again: their records stand beside those of the earlier run."""
    some = {name: FAMILIES[name] for name in ("web/b", "code/c")}
    run = small_run(tmp_path, some, **recipe())
    make(run)
    tidy(run, artifacts_of(run).values(), keep_work=False)
    write_shards(tmp_path, FAMILIES)
    for until in ("dedupe/sets/near", ""):
        grown = run_of(run.recipe, run.folder)
        artifacts = [*artifacts_of(grown).values()]
        shards = {one.name: one.shard for one in listed(grown)}
        make_ready(grown, [decide(grown, one) for one in artifacts], artifacts, shards)
        if until:
            make(grown, until="dedupe/cluster/near")
            phases = [p for p in phases_left(grown) if p.name == until]
            kill_within(grown, phases[0])
        else:
            make(grown)
    assert promised(grown) == promised(made(tmp_path, {"web/b": FAMILIES["web/b"], **FAMILIES}, **recipe()))


def test_a_run_that_shrinks_keeps_no_set_that_nobody_wants(tmp_path: Path) -> None:
    """Without its relatives a shard has none any more, and its file goes with them."""
    page = " ".join(sentence(random.Random(2), 90))
    shards = {"web/a": [f"{page} end"], "web/b": [page, "another text of a few words"], "web/c": ["alone"]}
    run = made(tmp_path, shards, dedupe={"steps": [NEAR]})
    tidy(run, artifacts_of(run).values(), keep_work=False)
    assert "dedupe/near/sets/web/b.parquet" in promised(run)
    (tmp_path / "in/web/a.jsonl").unlink()
    fewer = run_of(run.recipe, run.folder, redo=True)
    artifacts = [*artifacts_of(fewer).values()]
    left = {one.name: one.shard for one in listed(fewer)}
    make_ready(fewer, [decide(fewer, one) for one in artifacts], artifacts, left)
    make(fewer)
    tidy(fewer, artifacts, keep_work=False)
    del shards["web/a"]
    assert promised(fewer) == promised(made(tmp_path / "other", shards, dedupe={"steps": [NEAR]}))


def phases_left(run: Run) -> list[Any]:
    from tests.dolma_pipeline.stages.small import phases_of

    return phases_of(run)


def kill_within(run: Run, phase: Any) -> None:
    """Do all tasks of a phase but one, and do not close it."""
    from dolma_pipeline.run import perform

    tasks = list(perform.begin(run, phase))
    assert len(tasks) > 1
    for task in tasks[:-1]:
        perform.work(run, phase, task)


def test_another_order_threshold_or_rule_opens_no_text(
    tmp_path: Path, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = run_columns.open_shard
    monkeypatch.setattr(run_columns, "open_shard", lambda *args: opened.append(args[1].name) or real(*args))
    run = small_run(tmp_path, FAMILIES, **recipe())
    make(run)
    assert len(opened) >= 3, "the scan at least"
    opened.clear()
    for change in (
        {**recipe(), "dedupe": {"prefer": "id DESC", "steps": [NEAR]}},
        recipe(threshold=0.9),
        recipe(verify="containment"),
        {**recipe(), "mix": {"where": {"stars": "(metadata->>'$.stars')::INT >= 3"}}},
    ):
        again = small_run(tmp_path, FAMILIES, where=run.folder, **change)
        artifacts = [*artifacts_of(again).values()]
        decisions = [decide(again, one) for one in artifacts]
        assert "changed" in {one.state for one in decisions}
        make_ready(again, decisions, artifacts, {one.name: one.shard for one in listed(again)})
        make(again, until="dedupe/write")
        opened_here = list(opened)
        fresh = made(tmp_path, FAMILIES, until="dedupe/write", **change)
        names = [f"attributes/near/{shard}.parquet" for shard in FAMILIES]
        assert [again.folder.read(n) for n in names] == [fresh.folder.read(n) for n in names]
        assert opened_here == []
        opened.clear()


def test_a_fault_of_the_election_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written is held against order, rules and likeness once more."""
    real = election.elect_stars

    def wrong(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        stays = np.flatnonzero((found.keeper == np.arange(len(found.keeper))) & kwargs["candidate"])
        first, last = stays[np.argmin(kwargs["place"][stays])], stays[np.argmax(kwargs["place"][stays])]
        found.keeper[first] = last
        return found

    monkeypatch.setattr(election, "elect_stars", wrong)
    run = small_run(tmp_path, FAMILIES, **recipe())
    with pytest.raises(
        DataError, match=r"^dedupe/check, all: (web|code)/.#\d+: marked as a duplicate of (web|code)/.#\d+ \(likeness"
    ) as e:
        make(run)
    assert e.value.exit_code == 1


def test_an_election_that_was_stopped_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: Run) -> None:
    assert not [told for told in manifest(done, "attributes/near")["warnings"] if "was stopped" in told]
    monkeypatch.setattr(stars, "MOST_ROUNDS", 1)
    run = small_run(tmp_path, FAMILIES, **recipe())
    make(run)
    told = manifest(run, "attributes/near")["warnings"][-1]
    assert told.startswith("the election was stopped after 1 rounds, so some documents may have stayed")


def test_a_text_that_changed_since_the_index_is_not_taken(tmp_path: Path) -> None:
    run = small_run(tmp_path, FAMILIES, **recipe())
    make(run, until="dedupe/cluster/near")
    path = tmp_path / "in/web/a.jsonl"
    path.write_text(path.read_text().replace(" w", " v"))
    Process.leave()
    with pytest.raises(DataError, match=r"web/a\.jsonl: the file was changed .*since this run indexed it"):
        make(run)


def test_a_threshold_out_of_reach_is_an_error(tmp_path: Path) -> None:
    for change, what in (
        ({"threshold": 0.3}, r"14 bands of 8 rows look at 0\.001 of the pairs at 0\.3, below 0\.25: too few of them "
                             r"would be found\. Take 18 bands of 3 rows, or raise `threshold`\."),
        ({"threshold": 0.02, "bands": 2}, r"Raise `threshold`, or give more bands\."),
    ):  # fmt: skip
        run = small_run(tmp_path, FAMILIES, **recipe(**change))
        with pytest.raises(ConfigError, match=what):
            DedupeStage().check(Process.of(run))
    run = small_run(tmp_path, FAMILIES, **recipe(threshold=0.5, signature_bytes=288))
    DedupeStage().check(Process.of(run))
    assert run.recipe.dedupe is not None
    with pytest.raises(ConfigError, match=r"dedupe\.steps\.0\.rows: follows from `signature_bytes`"):
        small_run(tmp_path, FAMILIES, **recipe(signature_bytes=288, rows=5))


def test_pieces_hold_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "SET_BYTES", 100)
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 60, 30)
    a, b = np.sort(rng.integers(0, 30, 200)), rng.integers(0, 30, 200)
    found = list(pieces(a, b, sizes))
    assert [piece.start for piece in found] == [0, *(piece.stop for piece in found[:-1])]
    assert found[-1].stop == 200
    for piece in found:
        held = sizes[np.unique(np.concatenate([a[piece], b[piece]]))].sum()
        assert held <= 100 or piece.stop - piece.start == 1


def given_families(data: Path) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, Any]]]:
    shards = {}
    for path in sorted((data / "dedup/documents").glob("*.gz")):
        shards[f"web/{path.name.split('.')[0]}"] = [
            json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()
        ]
    truth = {one["id"]: one for one in map(json.loads, (data / "dedup/truth.jsonl").read_text().splitlines())}
    return shards, truth


@pytest.mark.parametrize(("threshold", "left"), [(0.7, 17), (0.8, 2), (0.9, 0)])
def test_the_families_of_the_development_data(tmp_path: Path, data: Path, threshold: float, left: int) -> None:
    shards, truth = given_families(data)
    found = marks(made(tmp_path, shards, dedupe={"steps": [{**NEAR, "threshold": threshold}]}), shards)
    ids = {f"{s}#{i}": one["id"] for s, some in shards.items() for i, one in enumerate(some)}
    keep = {ids[origin]: one["keep"] for origin, one in found.items()}
    pairs = [json.loads(line) for line in gzip.decompress((data / "dedup/pairs.jsonl.gz").read_bytes()).splitlines()]
    known = {frozenset((one["a"], one["b"])): one["jaccard"] for one in pairs}
    gone = {ids[origin]: ids[one["cluster"]] for origin, one in found.items() if not one["keep"]}
    assert len(gone) > 80
    assert not [pair for pair in gone.items() if known[frozenset(pair)] < threshold]
    assert sum(keep[one["a"]] and keep[one["b"]] for one in pairs if one["jaccard"] >= threshold) <= left
    for one, keeper in gone.items():
        assert (
            truth[one]["kind"] not in ("unrelated", "shared_boilerplate")
            or known[frozenset((one, keeper))] >= threshold
        )
