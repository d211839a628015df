"""Early rules, rules that read text, late rules, dropped documents and counts, against plain Python."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.judged import read_bits
from dolma_pipeline.stages.mix.decide import read_verdict_bits, read_verdicts
from tests.dolma_pipeline.stages.small import artifacts_of, made, make, manifest, promised, rows, small_run, table

TAG = {"taggers": ["length_v1"]}
DEDUPE = {"steps": [{"name": "exact", "kind": "exact"}]}


def corpus() -> dict[str, list[dict[str, Any]]]:
    """Documents of four shards: copies in and across sources, empty ones, some without metadata."""
    rng = random.Random(1)
    words = ["river", "stone", "Straße", "東京", "é", "winter", "key"]
    pool = [" ".join(rng.choice(words) for _ in range(rng.randrange(12))) for _ in range(25)]

    def document(i: int) -> dict[str, Any]:
        found: dict[str, Any] = {"id": f"d{i}", "text": rng.choice(pool)}
        if rng.random() < 0.7:
            found["metadata"] = {"stars": rng.randrange(9)} if rng.random() < 0.8 else {"url": "x"}
        return found

    return {name: [document(i) for i in range(30)] for name in ("web/a", "web/b", "code/c")} | {"code/empty": []}


DOCUMENTS = corpus()
Judge = Callable[[Mapping[str, Any], str], bool | None]


def stars(one: Mapping[str, Any], _: str) -> bool | None:
    found = one.get("metadata", {}).get("stars")
    return None if found is None else found >= 3


MIX = {
    "where": {
        "words": "length_v1.words BETWEEN 1 AND 9",
        "stars": "(metadata->>'$.stars')::INT >= 3",
        "text": "text NOT LIKE '%key%'",
        "unique": "exact.keep",
        "late_text": "exact.keep OR text LIKE '%river%'",
    },
    "sources": {"code": {"skip_rules": ["stars"], "where": {"short": "chars < 50"}, "min_chars": 4}},
}
RULES: dict[str, dict[str, Judge]] = {
    "web": {
        "words": lambda one, _: 1 <= len(one["text"].split()) <= 9,
        "stars": stars,
        "text": lambda one, _: "key" not in one["text"],
    },
    "code": {
        "words": lambda one, _: 1 <= len(one["text"].split()) <= 9,
        "text": lambda one, _: "key" not in one["text"],
        "short": lambda one, _: len(one["text"]) < 50,
        "min_chars": lambda one, _: len(one["text"]) >= 4,
    },
}
ORDER = {
    "web": ["words", "stars", "text", "unique", "late_text"],
    "code": ["words", "text", "unique", "late_text", "short", "min_chars"],
}
SHARDS = ["web/a", "web/b", "code/c"]
"""In the order of the recipe's sources, then by name: in which documents are first seen is the order by name."""


def answers() -> dict[str, list[dict[str, bool | None]]]:
    """What each rule says of each document, the plain way."""
    early: dict[str, list[dict[str, bool | None]]] = {
        shard: [{name: rule(one, shard) for name, rule in RULES[shard.split("/")[0]].items()} for one in documents]
        for shard, documents in DOCUMENTS.items()
    }
    groups: dict[str, list[tuple[str, int]]] = {}
    for shard in SHARDS:  # web stands before code in the recipe
        for row, one in enumerate(DOCUMENTS[shard]):
            if one["text"]:
                groups.setdefault(one["text"], []).append((shard, row))
    keep: dict[tuple[str, int], bool] = {}
    keeper: dict[tuple[str, int], tuple[str, int]] = {}
    for members in groups.values():
        good = [m for m in members if all(v is True for v in early[m[0]][m[1]].values())]
        stays = good[0] if good else members[0]
        for member in members:
            keep[member], keeper[member] = (member == stays and bool(good)) or len(members) == 1, stays
    found: dict[str, list[dict[str, bool | None]]] = {}
    for shard, documents in DOCUMENTS.items():
        found[shard] = []
        for row, one in enumerate(documents):
            kept = keep.get((shard, row), True)
            late = {"unique": kept, "late_text": kept or "river" in one["text"]}
            all_of_them = {**early[shard][row], **late}
            found[shard].append({name: all_of_them[name] for name in ORDER[shard.split("/")[0]]})
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All verdicts, made."""
    return made(tmp_path_factory.mktemp("verdicts"), DOCUMENTS, tag=TAG, dedupe=DEDUPE, mix=MIX, until="mix/decide")


def test_every_rule_of_every_document(run: Run) -> None:
    expected = answers()
    for shard in indexed(run):
        names = ORDER[shard.source]
        failed, null = read_verdict_bits(run, shard, names)
        for i, name in enumerate(names):
            values = [one[name] for one in expected[shard.name]]
            assert failed[i].tolist() == [value is not True for value in values], (shard.name, name)
            assert null[i].tolist() == [value is None for value in values], (shard.name, name)
        passing = [i for i, one in enumerate(expected[shard.name]) if all(v is True for v in one.values())]
        assert read_verdicts(run, shard).tolist() == passing


def test_early_rules_alone_decide_who_may_stay(run: Run) -> None:
    judged, expected = artifacts_of(run)["judged"], answers()
    for shard in indexed(run):
        found = table(run, f"{judged.folder}/{shard.name}.parquet")
        names = [name for name in ORDER[shard.source] if name in RULES[shard.source]]
        failed, _ = read_bits(found, len(names))
        for i, name in enumerate(names):
            assert failed[i].tolist() == [one[name] is not True for one in expected[shard.name]]
        chars = [len(one["text"]) for one in DOCUMENTS[shard.name]]
        assert ("edited_chars" in found.column_names) == (shard.source == "code")
        if shard.source == "code":
            assert found.column("edited_chars").to_pylist() == chars


def test_dropped_documents_have_all_their_rules_values_and_the_copy_that_stays(run: Run) -> None:
    expected = answers()
    duplicates = 0
    for shard, documents in DOCUMENTS.items():
        reasons = [[name for name, value in one.items() if value is not True] for one in expected[shard]]
        marks = [row["exact"] for row in rows(run, f"attributes/exact/{shard}.parquet")]
        found = rows(run, f"mix/dropped/{shard}.parquet")
        assert [one["row"] for one in found] == [i for i, why in enumerate(reasons) if why]
        for one in found:
            why = reasons[one["row"]]
            assert one["rules"] == why
            assert (one["id"], one["origin"]) == (documents[one["row"]]["id"], f"{shard}#{one['row']}")
            assert json.loads(one["values"])["length_v1.words"] == len(documents[one["row"]]["text"].split())
            copy = {*why} & {"unique", "late_text"} and not marks[one["row"]]["keep"]
            assert one["copy_of"] == (marks[one["row"]]["cluster"] if copy else None)
            duplicates += bool(copy)
    assert duplicates > 10


def test_counts_are_those_of_plain_python(run: Run) -> None:
    expected = answers()
    lines = {line["shard"]: line["counts"] for line in read_lines(run.folder, "mix/verdicts")}
    for shard, documents in DOCUMENTS.items():
        counts = lines[shard]
        reasons = [[name for name, value in one.items() if value is not True] for one in expected[shard]]
        assert counts["in"] == len(documents)
        assert counts["kept"] == sum(not why for why in reasons)
        assert counts["dropped"] == counts["in"] - counts["kept"] == sum(r["first"] for r in counts["rules"].values())
        assert counts["bytes_in"] == sum(len(one["text"].encode()) for one in documents)
        passing = [one for one, why in zip(documents, reasons, strict=True) if not why]
        assert counts["bytes_kept"] == sum(len(one["text"].encode()) for one in passing)
        for name in ORDER[shard.split("/")[0]]:
            assert counts["rules"][name] == {
                "first": sum(why[:1] == [name] for why in reasons),
                "any": sum(name in why for why in reasons),
                "alone": sum(why == [name] for why in reasons),
                "null": sum(one[name] is None for one in expected[shard]),
            }
    assert sum(one["kept"] for one in lines.values()) > 5


def test_the_settings_are_told_by_their_keys(run: Run) -> None:
    found = manifest(run, "mix/verdicts")
    assert found["config"]["mix.where.words"] == MIX["where"]["words"]  # type: ignore[index]
    assert found["source_config"]["code"]["mix.sources.code.min_chars"] == 4
    assert found["source_config"]["web"]["mix.where: order"] == ORDER["web"]


def test_columns_alone_are_read_for_rules_over_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"words": "length_v1.words > 2", "chars": "length(text) < 40", "unique": "exact.keep"}
    run = small_run(tmp_path, DOCUMENTS, tag=TAG, dedupe=DEDUPE, mix={"where": where})
    make(run, until="scan")
    monkeypatch.setattr(columns_module, "open_shard", lambda *_: pytest.fail("text was read"))
    assert make(run, until="mix/decide")[-1] == "mix/decide"
    assert sum(line["counts"]["kept"] for line in read_lines(run.folder, "mix/verdicts")) > 5


@pytest.mark.parametrize("where", [{"late": "exact.keep OR text = ''"}, {"early": "text <> 'x'"}, {}])
def test_the_same_bytes_however_tasks_are_repeated(tmp_path: Path, where: dict[str, str]) -> None:
    mix = {"where": {"words": "length_v1.words > 2", **where}}
    settings: dict[str, Any] = {"tag": TAG, "dedupe": DEDUPE, "mix": mix}
    one, other = (small_run(tmp_path, DOCUMENTS, **settings) for _ in range(2))
    make(one, until="mix/decide")
    make(other, until="mix/decide", engine=Here(seed=5, repeated=0.5, again=True))
    assert promised(one) == promised(other)


def test_more_than_64_rules_that_read_text_and_a_shard_without_documents(tmp_path: Path) -> None:
    """A second word of bits, which a shard of no documents must have, too: shards of a block are read together."""
    where = {f"r{i:02d}": f"text <> 'x{i}'" for i in range(70)}
    documents = {"web/a": ["x3", "x69", "fine"], "web/b": [], "web/c": ["x64"]}
    run = made(tmp_path, documents, mix={"where": where}, until="mix/decide")
    assert [one["rules"] for one in rows(run, "mix/dropped/web/a.parquet")] == [["r03"], ["r69"]]
    assert [one["rules"] for one in rows(run, "mix/dropped/web/c.parquet")] == [["r64"]]


def test_edited_lengths_count_for_min_chars(tmp_path: Path) -> None:
    text = ["no end here\nA line that ends.", "x\ny\nz", "A line that ends well."]
    run = made(
        tmp_path, {"web/a": text, "code/b": text}, tag={"taggers": ["c4_v1"]}, until="mix/decide",
        mix={"sources": {"web": {"remove": ["c4_v1.lines_without_end"], "min_chars": 10}}},
    )  # fmt: skip
    assert [one["row"] for one in rows(run, "mix/dropped/web/a.parquet")] == [1]
    assert rows(run, "mix/dropped/code/b.parquet") == []
    (chars,) = [table(run, "mix/verdicts/web/a.parquet").column("edited_chars").to_pylist()]
    assert chars[2] == len(text[2])
    assert chars[0] < len(text[0])


def test_a_rule_that_wants_a_tagger_s_column_and_text_is_asked_in_the_same_reading(tmp_path: Path) -> None:
    where = {"a": "text LIKE '%e%' AND length_v1.words > 1"}
    run = small_run(tmp_path, {"web/a": ["one two", "one", "no no"]}, tag=TAG, mix={"where": where})
    assert make(run, until="mix/decide") == ["scan", "mix/judge", "mix/decide"]
    assert [one["row"] for one in rows(run, "mix/dropped/web/a.parquet")] == [1, 2]


def test_the_same_in_dolma_s_files(tmp_path: Path) -> None:
    """There a column's fields have other names; in the reading that makes it, too."""
    tag = {"taggers": ["length_v1"], "format": "jsonl"}
    where = {"a": "text LIKE '%e%' AND len(length_v1.length_v1__words) > 0"}
    run = small_run(tmp_path, {"web/a": ["one two", "one", "no no"]}, tag=tag, mix={"where": where})
    make(run, until="mix/decide")
    assert [one["row"] for one in rows(run, "mix/dropped/web/a.parquet")] == [2]


def test_attributes_that_are_gone_are_named(tmp_path: Path) -> None:
    run = small_run(tmp_path, DOCUMENTS, tag=TAG, mix={"where": {"words": "length_v1.words > 2"}})
    make(run, until="scan")
    run.folder.delete(["attributes/length_v1/web/b.parquet"])
    words = (
        r"mix/judge needs a file that is gone: .*/attributes/length_v1/web/b\.parquet: no such file\. If it is an inp"
    )
    with pytest.raises(DataError, match=words):
        make(run, until="mix/judge")


def test_a_cache_that_is_gone_while_work_is_unfinished(tmp_path: Path) -> None:
    run = small_run(tmp_path, DOCUMENTS, dedupe=DEDUPE, mix={})
    make(run, until="dedupe/edges/exact")
    run.folder.delete_tree("cache/edges")
    with pytest.raises(DataError, match=r"gone: .*/cache/edges/.* Delete memory://.*/\.done, too, and run again: unf"):
        make(run, until="dedupe/cluster/exact")
    run.folder.delete_tree(".done")
    assert make(run)[-1] == "mix/close"


def test_spans_behind_a_text_are_told_and_drop_nothing(tmp_path: Path) -> None:
    """`min_chars` reckons with spans and no text: a span of another text must not make a document short."""
    import gzip

    given = tmp_path / "given"
    given.mkdir()
    texts = ["a text of some length", "another text of some length"]
    lines = [{"id": f"d{i}", "attributes": {"e__t__spans": [[2, end, 1]]}} for i, end in enumerate((6, 400))]
    (given / "a.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode()))
    mix = {"sources": {"web": {"remove": ["e.t__spans"], "min_chars": 5}}}
    run = small_run(tmp_path, {"web/a": texts}, sources={"web": {"attributes": [str(given)]}}, mix=mix)
    words = r"given/a\.jsonl\.gz:2: .*t__spans: span \[2, 400\] ends behind the text, which has 27 characters"
    with pytest.raises(MisalignedError, match=words):
        make(run, until="mix/decide")
