"""Exact copies by any key: what is equal is grouped, as plain Python groups it, and what has no key stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dolma_pipeline
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.run import columns as run_columns
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import listed
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready, tidy
from dolma_pipeline.stages.dedupe.stage import DedupeStage
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


def document(text: str, **metadata: Any) -> dict[str, Any]:
    return {"id": text[:2], "text": text, "metadata": metadata}


SHARDS: dict[str, list[dict[str, Any]]] = {
    "web/a": [
        document("One two, three", url="u1"), document("one TWO three.", url="u2"), document("four", url="U1"),
        document("five", url=""), document("six", url=None), document("seven"), document("", url="u2"),
    ],
    "web/b": [document("four", url="u1"), document("FOUR!", url="u9"), document("?!", url="u9"), document("?!")],
    "code/c": [document("ONE two\tthree", url="u1"), document("five", url="u4", n=3)],
    "code/empty": [],
}  # fmt: skip
ORDER = ["code/c", "code/empty", "web/a", "web/b"]
"""Shards as documents are numbered; `web` comes first in the order of who stays."""


def folded(one: dict[str, Any]) -> Any:
    return tuple(re.findall(r"\w+", one["text"].casefold()))


def url(one: dict[str, Any]) -> Any:
    return one["metadata"].get("url")


KEYS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "text": lambda _, one: one["text"],
    "folded": lambda _, one: folded(one),
    "metadata->>'$.url'": lambda _, one: url(one),
    "metadata->'$.url'": lambda _, one: url(one),
    "lower(metadata->>'$.url')": lambda _, one: (url(one) or "").lower(),
    "id": lambda _, one: one["id"],
    "source || ':' || id": lambda source, one: f"{source}:{one['id']}",
    "length(text)": lambda _, one: len(one["text"]),
    "left(lower(text), 3)": lambda _, one: one["text"].lower()[:3],
    "source || left(text, 1)": lambda source, one: source + one["text"][:1],
    "length_v1.words": lambda _, one: len(one["text"].split()),
}


def expected(key: Callable[[str, dict[str, Any]], Any]) -> dict[str, tuple[str, int, bool]]:
    """Origin -> origin of the one that stays, size of the cluster, whether it stays."""
    groups: dict[Any, list[str]] = {}
    order = ["web/a", "web/b", "code/c", "code/empty"]
    for shard in order:
        for i, one in enumerate(SHARDS[shard]):
            value = key(shard.split("/")[0], one)
            origin = f"{shard}#{i}"
            missing = value is None or value in ("", ())
            groups.setdefault(("alone", origin) if missing else ("key", value), []).append(origin)
    return {o: (group[0], len(group), o == group[0]) for group in groups.values() for o in group}


def marks(run: Any, step: str = "same") -> dict[str, tuple[str, int, bool]]:
    found = {}
    for shard in SHARDS:
        for i, row in enumerate(rows(run, f"attributes/{step}/{shard}.parquet")):
            one = row[step]
            found[f"{shard}#{i}"] = (one["cluster"], one["size"], one["keep"])
    return found


def recipe(key: str) -> dict[str, Any]:
    step = {"name": "same", "kind": "exact", "key": key}
    tagged = {"tag": {"taggers": ["length_v1"]}} if "length_v1" in key else {}
    return {**tagged, "dedupe": {"steps": [step]}}


@pytest.mark.parametrize("key", KEYS)
def test_what_is_equal_is_one_cluster(tmp_path: Path, key: str) -> None:
    run = made(tmp_path, SHARDS, **recipe(key))
    assert marks(run) == expected(KEYS[key])
    made_of = manifest(run, "dedupe/same")
    assert made_of["config"]["dedupe.steps.same.key"] == key
    without = {"web": 0, "code": 0}
    for shard, some in SHARDS.items():
        source = shard.split("/")[0]
        values = [KEYS[key](source, one) for one in some]
        without[source] += sum(value is None or value in ("", ()) for value in values)
    assert made_of["without_key"] == without
    assert "warnings" not in made_of
    assert ("format 2" in made_of["files"].values()) == (key == "folded")
    assert made_of["counts"]["web"]["kept"] == 11


def test_the_words_of_folded_are_those_of_signatures(tmp_path: Path) -> None:
    steps = [{"name": "same", "kind": "exact", "key": "folded"}, {"name": "near", "kind": "minhash"}]
    run = made(tmp_path, SHARDS, dedupe={"steps": steps})
    for shard in ("web/a", "web/b", "code/c"):
        own = rows(run, f"dedupe/same/signatures/{shard}.parquet")
        near = rows(run, f"dedupe/near/signatures/{shard}.parquet")
        assert {(one["row"], one["key"], one["more"]) for one in own} == {
            (one["row"], one["same_hi"], one["same_lo"]) for one in near
        }


def test_kept_keys_lie_sorted(tmp_path: Path) -> None:
    run = made(tmp_path, SHARDS, **recipe("metadata->>'$.url'"))
    found = table(run, "dedupe/same/signatures/web/a.parquet")
    assert found.column_names == ["key", "row", "more"]
    assert found.column("key").to_pylist() == sorted(found.column("key").to_pylist())
    assert sorted(found.column("row").to_pylist()) == [0, 1, 2, 6]


def test_sql_that_reads_no_text_opens_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, SHARDS, dedupe={"steps": [{"name": "first", "kind": "exact"}]})
    opened = []
    real = run_columns.open_shard
    monkeypatch.setattr(run_columns, "open_shard", lambda *args: opened.append(args[1].name) or real(*args))
    steps = [{"name": "first", "kind": "exact"}, {"name": "same", "kind": "exact", "key": "lower(metadata->>'$.url')"}]
    more = small_run(tmp_path, SHARDS, where=run.folder, dedupe={"steps": steps})
    make(more)
    assert rows(more, "attributes/same/web/a.parquet")
    assert opened == []
    steps[1] = {**steps[1], "name": "read", "key": "lower(text)"}
    make(small_run(tmp_path, SHARDS, where=run.folder, dedupe={"steps": steps}))
    assert sorted(opened) == sorted(SHARDS)


@pytest.mark.parametrize("key", ["metadata->>'$.url'", "folded", "left(lower(text), 3)"])
def test_the_same_bytes_in_ranges_repeated_and_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    whole = promised(made(tmp_path, {"web/a": SHARDS["web/a"], **SHARDS}, **recipe(key)))
    monkeypatch.setattr("dolma_pipeline.stages.dedupe.edges.BYTES_A_ROW", 4_000_000_000 // 3)
    other = small_run(tmp_path, SHARDS, **recipe(key))
    make(other, engine=Here(seed=5, repeated=0.5, again=True))
    assert promised(other) == whole
    for one in (tmp_path / "in").rglob("*.jsonl"):
        one.unlink()
    run = small_run(tmp_path, {name: SHARDS[name] for name in ("web/b", "code/c")}, **recipe(key))
    make(run)
    tidy(run, artifacts_of(run).values(), keep_work=False)
    write_shards(tmp_path, SHARDS)
    grown = run_of(run.recipe, run.folder)
    artifacts = [*artifacts_of(grown).values()]
    decisions = [decide(grown, one) for one in artifacts]
    assert {d.artifact.name: d.state for d in decisions}["dedupe/same"] == "grow"
    make_ready(grown, decisions, artifacts, {one.name: one.shard for one in listed(grown)})
    make(grown)
    assert promised(grown) == whole


def test_a_source_with_few_keys_is_warned_of(tmp_path: Path) -> None:
    run = made(tmp_path, SHARDS, **recipe("metadata->>'$.n'"))
    assert manifest(run, "dedupe/same")["without_key"] == {"code": 1, "web": 11}
    assert manifest(run, "dedupe/same")["warnings"] == [
        "11 of 11 documents of source 'web' have no key `metadata->>'$.n'`: they are compared with nothing, and stay."
    ]
    assert all(keep for _, _, keep in marks(run).values())


def test_a_key_that_is_missing_everywhere_is_an_error(tmp_path: Path) -> None:
    run = small_run(tmp_path, SHARDS, **recipe("metadata->>'$.ulr'"))
    with pytest.raises(DataError, match="NULL or empty for every document") as error:
        make(run)
    told = str(error.value)
    assert "dedupe.steps.0.key: `metadata->>'$.ulr'` is NULL or empty" in told
    assert "there are: id (13); keys of metadata: n (1), url (9)." in told
    assert error.value.exit_code == 1


@pytest.mark.parametrize(("key", "kind"), [("text", "exact"), ("folded", "exact"), (None, "minhash")])
def test_texts_that_are_all_empty_are_an_error(tmp_path: Path, key: str | None, kind: str) -> None:
    step = {"name": "same", "kind": kind, **({"key": key} if key else {})}
    run = small_run(tmp_path, {"web/a": ["", "", ""]}, dedupe={"steps": [step]})
    with pytest.raises(DataError, match=r"no document has a (text|word), so none has a (key|signature)"):
        make(run)
    nothing_at_all = {"web/a": [], "web/b": []}
    made(tmp_path, nothing_at_all, dedupe={"steps": [step]})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("url", r"dedupe\.steps\.0\.key: no attribute or column named 'url'.*`metadata->>'\$\.url'`"),
        ("same.cluster", "no attribute or column named 'same'"),
        ("lower(id", "`lower\\(id` is not SQL"),
        ("length_v1.words || text", "names both the text and length_v1: "),
    ],
)
def test_keys_that_cannot_be_are_told_before_anything_runs(tmp_path: Path, key: str, words: str) -> None:
    run = small_run(tmp_path, SHARDS, **recipe(key))
    with pytest.raises(ConfigError, match=words):
        DedupeStage().check(Process.of(run))


def test_a_key_of_another_kind_has_no_effect_and_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dedupe\.steps\.0\.key: is of kind exact, and this step is of kind minhash"):
        small_run(tmp_path, SHARDS, dedupe={"steps": [{"name": "a", "kind": "minhash", "key": "folded"}]})


def test_a_dry_run_tells_the_line_of_a_key_that_cannot_be(tmp_path: Path) -> None:
    write_shards(tmp_path, SHARDS)
    path = tmp_path / "my.yaml"
    path.write_text(
        f"output: {tmp_path}/out\nsources: {{web: {{documents: {tmp_path}/in/web/*.jsonl}}}}\ndedupe:\n  steps:\n"
        "    - {name: first, kind: exact}\n    - name: second\n      kind: exact\n      key: lower(idd)\n"
    )
    with pytest.raises(ConfigError, match=r"my\.yaml:8: dedupe\.steps\.1\.key: no attribute or column named 'idd'"):
        dolma_pipeline.run(str(path), dry_run=True)
