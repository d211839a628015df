"""What a mix can be: without a tokenizer, with and without documents, with rules on every column and on the text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import files, make_documents, read_jsonl, recipe, tree, write_documents

pytestmark = pytest.mark.usefixtures("plain")

SHARDS = make_documents()
WITHOUT: dict[str, Any] = {"tokenizer": None, "tokens": None}
PLAIN_MIX: dict[str, Any] = {"where": tree()["mix"]["where"], "keep_metadata": ["stars"]}


def make(folder: Path, *, redo: bool = False, **changes: Any) -> Result:
    return run(recipe(folder, **changes), quiet=True, redo=redo)


def documents(folder: Path, part: str = "documents") -> dict[str, dict[str, Any]]:
    """Origin -> line of what the mix wrote."""
    rows = [row for path in sorted((folder / "mix" / part).rglob("*.zst")) for row in read_jsonl(path)]
    return {row["origin"]: row for row in rows}


def planned(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "mix/plan.json").read_bytes())
    return found


def num_bytes(origins: Mapping[str, Any], source: str) -> int:
    """Bytes of the texts as they are in the corpus, copies counted."""
    total = 0
    for origin, row in origins.items():
        shard, _, number = origin.rpartition("#")
        if shard.startswith(f"{source}/"):
            total += len(SHARDS[shard][int(number)]["text"].encode()) * row.get("epochs", 1)
    return total


def asked(folder: Path) -> list[str]:
    """The readings of the last run, and how many shards each took."""
    events = [json.loads(line) for line in (folder / "log/events.jsonl").read_text().splitlines()]
    begun = max(i for i, one in enumerate(events) if one["step"] == "mix/decide" and one["event"] == "begin")
    before = [i for i, one in enumerate(events) if one["step"] == "mix/close" and one["event"] == "end" and i < begun]
    last = events[before[-1] + 1 if before else 0 :]
    readings = ("scan", "ask", "sample", "encode", "write")
    return [f"{one['step']} {one['tasks']}" for one in last if one["event"] == "begin" and one["step"] in readings]


def test_everything_that_passes_without_a_tokenizer(finished: Path, here: Path, tmp_path: Path) -> None:
    """The documents of a run with one; without `held_out` what it holds out too."""
    result = make(tmp_path / "run", mix={**PLAIN_MIX, **edits()}, **WITHOUT)
    both = {**documents(finished), **documents(finished, "held_out")}
    assert documents(tmp_path / "run") == both
    assert planned(tmp_path / "run")["unit"] == "bytes"
    assert "token" not in result.text()
    assert [key for one in result.record()["manifests"]["mix"]["plan"].values() for key in one if "token" in key] == []
    assert not (tmp_path / "run/tokenizer").exists()
    assert not (tmp_path / "run/mix/held_out").exists()
    for source, counts in result.manifests["mix"].counts.items():
        assert counts["chosen"] == sum(origin.startswith(f"{source}/") for origin in both)
        assert counts["edited"] == result.manifests["mix"].counts[source]["edited"] > 0


def edits() -> dict[str, Any]:
    mix = tree()["mix"]
    return {"replace": mix["replace"], "sources": mix["sources"]}


def test_a_budget_in_bytes(here: Path, tmp_path: Path) -> None:
    sources = {"web": {"weight": 1}, "code": {"weight": 3}, "forum": {"weight": 1}}
    make(tmp_path / "run", mix={**PLAIN_MIX, "target_bytes": 50_000, "max_epochs": 4, "sources": sources}, **WITHOUT)
    plan, found = planned(tmp_path / "run"), documents(tmp_path / "run")
    assert plan["unit"] == "bytes"
    for source, share in (("web", 0.2), ("code", 0.6), ("forum", 0.2)):
        one = plan["sources"][source]
        assert one["wanted"] == pytest.approx(50_000 * share, abs=1)
        assert one["wanted"] - 2000 < one["bytes"] <= one["wanted"]
        assert one["bytes"] == num_bytes(found, source)
        assert one["tokens"] == 0
    assert plan["sources"]["code"]["epochs"] > 1 > plan["sources"]["web"]["epochs"]


def test_a_budget_in_documents_with_and_without_a_tokenizer(here: Path, tmp_path: Path) -> None:
    """The same documents: what a budget counts does not depend on tokens."""
    held = {"share": 0.1, "max_bytes": 3000}
    mix = {**PLAIN_MIX, "target_documents": 60, "held_out": held, "documents": True}
    make(tmp_path / "without", mix=mix, **WITHOUT)
    make(tmp_path / "with", mix=mix, tokens__keep_attributes=[])
    assert 57 <= len(documents(tmp_path / "without")) <= 60
    for part in ("documents", "held_out"):
        found = [documents(tmp_path / name, part) for name in ("without", "with")]
        assert found[0] == found[1] != {}
    assert all(num_bytes(documents(tmp_path / "with", "held_out"), s) <= 3000 for s in ("web", "code", "forum"))


def test_documents_are_written_where_there_are_no_tokens_or_as_the_recipe_says(
    finished: Path, here: Path, tmp_path: Path
) -> None:
    """Held-out documents always are. Parts do not depend on it."""
    make(tmp_path / "run", mix__documents=None)
    found = files(tmp_path / "run")
    assert not [name for name in found if name.startswith("mix/documents/")]
    for name, sha256 in files(finished).items():
        if name.startswith(("mix/held_out/", "mix/selected/", "tokens/")) and not name.endswith("manifest.json"):
            assert found[name] == sha256, name
    make(tmp_path / "run", redo=True)
    assert files(tmp_path / "run") == files(finished)
    make(tmp_path / "none", mix={**PLAIN_MIX, "documents": False}, **WITHOUT)
    assert not documents(tmp_path / "none")
    assert (tmp_path / "none/mix/selected/web/a.parquet").is_file()


RULES = {
    "recipe's source": ("source = 'forum'", lambda shard, one: shard.startswith("forum/")),
    "document's own source": ("document_source = 'mill'", lambda shard, one: one.get("source") == "mill"),
    "chars": ("chars BETWEEN 100 AND 200", lambda shard, one: 100 <= len(one["text"]) <= 200),
    "length": ("length(text) BETWEEN 100 AND 200", lambda shard, one: 100 <= len(one["text"]) <= 200),
    "bytes": ("bytes > chars + 10", lambda shard, one: len(one["text"].encode()) > len(one["text"]) + 10),
    "metadata": ("(metadata->>'$.stars')::INT >= 5", lambda shard, one: one["metadata"]["stars"] >= 5),
    "text": ("contains(text, 'harbour')", lambda shard, one: "harbour" in one["text"]),
    "text and an attribute": (
        "contains(text, 'harbour') AND length_v1.words > 20",
        lambda shard, one: "harbour" in one["text"] and len(one["text"].split()) > 20,
    ),
}
READ = ("text", "text and an attribute")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The corpus in two files a source, some documents with a source of their own; the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, found in SHARDS.items():
        own = [{**one, **({"source": "mill"} if i % 3 == 0 else {})} for i, one in enumerate(found)]
        write_documents(tmp_path / "in" / f"{name}.jsonl", own)
    return tmp_path


def passing(name: str) -> set[str]:
    """By plain Python."""
    rule = RULES[name][1]
    own = {
        s: [{**one, **({"source": "mill"} if i % 3 == 0 else {})} for i, one in enumerate(d)] for s, d in SHARDS.items()
    }
    return {f"{shard}#{i}" for shard, found in own.items() for i, one in enumerate(found) if rule(shard, one)}


def test_rules_on_every_column_and_on_the_text(mine: Path) -> None:
    """One run a rule, in one folder: the text is read again for rules that name it, and for no other."""
    settings = {**WITHOUT, "dedupe": None, "tag": {"taggers": ["length_v1"]}, "workers": 1}
    for number, name in enumerate(RULES):
        mix = {"where": {"rule": RULES[name][0]}, "documents": False}
        result = make(mine / "run", redo=number > 0, mix=mix, **settings)
        expected = passing(name)
        assert expected, name
        rows = {f"{path.parent.name}/{path.stem}#{row}" for path in (mine / "run/mix/selected").rglob("*.parquet")
                for row in pq.read_table(path).column("row").to_pylist()}  # fmt: skip
        assert rows == expected, name
        counts = result.manifests["mix"].counts
        assert sum(one["kept"] for one in counts.values()) == len(expected)
        read = [one for one in asked(mine / "run") if one.startswith(("scan", "ask"))]
        assert read == (["scan 4"] if number == 0 or name in READ else []), name


def test_a_rule_that_names_the_text_is_kept_when_another_one_changes(mine: Path) -> None:
    """Early and late ones; the answers are those of a fresh run."""
    steps = {"steps": [{"name": "exact", "kind": "exact"}]}
    settings: dict[str, Any] = {**WITHOUT, "tag": {"taggers": ["length_v1"]}, "dedupe": steps}

    def where(least: int, **more: str) -> dict[str, Any]:
        return {
            "words": f"length_v1.words >= {least}",
            "harbour": "contains(text, 'harbour')",
            "late": "exact.keep AND NOT contains(text, 'kettle')",
            **more,
        }

    make(mine / "run", mix={"where": where(10), "documents": False}, **settings)
    assert [one for one in asked(mine / "run") if one[0] in "sa"] == ["scan 4", "ask 4"]
    make(mine / "run", redo=True, mix={"where": where(20), "documents": False}, **settings)
    assert [one for one in asked(mine / "run") if one.startswith("scan")] == []
    make(mine / "fresh", mix={"where": where(20), "documents": False}, **settings)
    assert files(mine / "run") == files(mine / "fresh")
    expected = {
        f"{shard}#{i}"
        for shard, found in SHARDS.items()
        for i, one in enumerate(found)
        if len(one["text"].split()) >= 20 and "harbour" in one["text"] and "kettle" not in one["text"]
    }
    rows = {f"{path.parent.name}/{path.stem}#{row}" for path in (mine / "run/mix/selected").rglob("*.parquet")
            for row in pq.read_table(path).column("row").to_pylist()}  # fmt: skip
    assert rows <= expected
    assert len(rows) > len(expected) - 13  # but for the exact copies
    dropped = pq.read_table(mine / "run/mix/dropped/web/a.parquet").to_pylist()
    assert {rule for row in dropped for rule in row["rules"]} == {"words", "harbour", "late"}


def test_a_text_rule_over_attributes_made_elsewhere_of_a_file_in_ranges(mine: Path) -> None:
    """Which of their rows are a range's is known from the index, so it is asked after it."""
    texts = [f"The miller counts {i:03d} sacks of flour before noon, and {'one more ' * 10}." for i in range(240)]
    write_documents(mine / "big.jsonl", ({"id": str(i), "text": text} for i, text in enumerate(texts)))
    rows = ({"id": str(i), "attributes": {"q__good": [[0, 5, i % 10 / 10]]}} for i in range(240))
    write_documents(mine / "attr/big.jsonl.gz", rows)
    settings: dict[str, Any] = {
        **WITHOUT,
        "tag": None,
        "dedupe": None,
        "split_bytes": 10_000,
        "sources": {"s": {"documents": "big.jsonl", "attributes": "attr"}},
        "mix": {"where": {"good": "score(q.good) > 0.45 AND contains(text, '7')"}},
    }
    make(mine / "run", **settings)
    assert [row["id"] for row in documents(mine / "run").values()] == [
        str(i) for i in range(240) if i % 10 > 4 and "7" in f"{i:03d}"
    ]


def test_what_cannot_be_without_a_tokenizer(here: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mix\.target_tokens"):
        make(tmp_path / "run", mix={**PLAIN_MIX, "target_tokens": 5000}, **WITHOUT)
    with pytest.raises(UsageError, match=r"token"):
        make(tmp_path / "run", tokenizer=None)
    assert not (tmp_path / "run").exists()
