"""One whole run over the tiny corpus: every document is accounted for, and every number is what is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from dolma_pipeline.tokens.keys import document_key
from tests.pipeline.tiny import BAD_PLACE, FILES, files, make_documents, read_jsonl

SHARDS = make_documents()
SEED = 3


def manifest(run: Path, unit: str) -> Any:
    return json.loads((run / unit / "manifest.json").read_bytes())


def records(run: Path, unit: str) -> dict[str, Any]:
    return {record["shard"]: record for record in read_jsonl(run / unit / "shards.jsonl")}


def attribute(run: Path, label: str, shard: str) -> list[dict[str, Any]]:
    return pq.read_table(run / "attributes" / label / f"{shard}.parquet").column(label).to_pylist()


def edited(text: str, source: str) -> str:
    """The text after the recipe's edits, by another way: one regular expression over both kinds of span."""
    asides = r" *\[[^\]]*\]"
    if source != "web":
        return re.sub(r"@\w+", " |||NAME||| ", text)
    return re.sub(rf"({asides})|(@\w+)", lambda m: "" if m[1] else " |||NAME||| ", text)


def expected_drop(run: Path, shard: str, row: int) -> list[str]:
    """Rules that a document breaks, from the attribute columns alone."""
    words = attribute(run, "length_v1", shard)[row]["words"] >= 10
    unique = all(attribute(run, step, shard)[row]["keep"] for step in ("exact", "minhash"))
    return [name for name, passed in (("words", words), ("unique", unique)) if not passed]


@pytest.fixture(scope="module")
def mixed(finished: Path) -> dict[str, list[dict[str, Any]]]:
    """Documents of the mix by shard: training and held out."""
    return {
        f"{part}/{shard}": read_jsonl(finished / "mix" / part / f"{shard}.jsonl.zst")
        for part in ("documents", "held_out")
        for shard in SHARDS
    }


@pytest.mark.parametrize("unit", ["attributes/length_v1", "attributes/marks_v1", "dedupe/exact", "mix"])
def test_in_is_kept_and_dropped_and_failed(finished: Path, unit: str) -> None:
    by_source: dict[str, Counter[str]] = {}
    for shard, record in records(finished, unit).items():
        counts = record["counts"]
        assert counts["in"] == counts["kept"] + counts["dropped"] + counts["failed"]
        assert counts["in"] == len(SHARDS[shard]) + (shard == BAD_PLACE[0])
        assert counts["failed"] == (shard == BAD_PLACE[0])
        numbers = {key: value for key, value in counts.items() if isinstance(value, int)}
        by_source.setdefault(shard.split("/")[0], Counter()).update(numbers)
    for source, counts in manifest(finished, unit)["counts"].items():
        assert {key: value for key, value in counts.items() if isinstance(value, int)} == by_source[source]


def test_dropped_is_the_sum_of_first_reasons(finished: Path) -> None:
    for record in records(finished, "mix").values():
        rules = record["counts"]["rules"]
        assert set(rules) == {"words", "unique"}
        assert record["counts"]["dropped"] == sum(rule["first"] for rule in rules.values())
        assert all(rule["alone"] <= rule["first"] <= rule["any"] for rule in rules.values())


def test_every_dropped_row_is_listed_with_its_rules_and_values(finished: Path) -> None:
    for shard, documents in SHARDS.items():
        dropped = pq.read_table(finished / "mix" / "dropped" / f"{shard}.parquet").to_pylist()
        expected = {row: why for row in range(len(documents)) if (why := expected_drop(finished, shard, row))}
        assert {one["row"]: one["rules"] for one in dropped} == expected
        for one in dropped:
            assert one["id"] == documents[one["row"]]["id"]
            values = json.loads(one["values"])
            assert values["length_v1.words"] == len(documents[one["row"]]["text"].split())
            assert values["exact.keep"] == attribute(finished, "exact", shard)[one["row"]]["keep"]
        rules = records(finished, "mix")[shard]["counts"]["rules"]
        for name, counts in rules.items():
            assert counts["any"] == sum(name in why for why in expected.values())
            assert counts["alone"] == sum(why == [name] for why in expected.values())
            assert counts["first"] == sum(why[0] == name for why in expected.values())


def test_texts_are_the_edited_ones_and_origins_lead_back(
    finished: Path, mixed: Mapping[str, Any], corpus: Path
) -> None:
    num_edited = 0
    for place, rows in mixed.items():
        shard = place.split("/", 1)[1]
        lines = read_lines(corpus / "in" / FILES[shard])
        for row in rows:
            name, _, number = row["origin"].rpartition("#")
            source = SHARDS[name][int(number)]
            assert name == shard
            assert json.loads(lines[row["loc"] - 1])["id"] == row["id"] == source["id"]
            assert row["text"] == edited(source["text"], shard.split("/")[0])
            assert row["metadata"] == {"stars": source["metadata"]["stars"]}
            num_edited += row["text"] != source["text"]
    assert num_edited == sum(counts["edited"] for counts in manifest(finished, "mix")["counts"].values()) > 50


def read_lines(path: Path) -> list[str]:
    import gzip

    import zstandard

    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    data = zstandard.decompress(data) if path.suffix == ".zst" else data
    return data.decode().split("\n")


def test_what_passes_is_trained_on_or_held_out(finished: Path, mixed: Mapping[str, Any]) -> None:
    for shard, documents in SHARDS.items():
        passing = {f"{shard}#{row}" for row in range(len(documents)) if not expected_drop(finished, shard, row)}
        train = [row["origin"] for row in mixed[f"documents/{shard}"]]
        held = [row["origin"] for row in mixed[f"held_out/{shard}"]]
        assert sorted(train + held) == sorted(passing)
        counts = records(finished, "mix")[shard]["counts"]
        assert (counts["chosen"], counts["held_out"]) == (len(train), len(held))


def test_held_out_shares_no_cluster_with_training(finished: Path, mixed: Mapping[str, Any]) -> None:
    clusters: dict[str, set[str]] = {"documents": set(), "held_out": set()}
    for place, rows in mixed.items():
        part, shard = place.split("/", 1)
        near = attribute(finished, "minhash", shard)
        clusters[part] |= {near[int(row["origin"].rpartition("#")[2])]["cluster"] for row in rows}
    assert clusters["held_out"]
    assert not clusters["documents"] & clusters["held_out"]


def text_of(origin: str) -> str:
    """A document's text as it is in the corpus."""
    shard, _, row = origin.rpartition("#")
    found: str = SHARDS[shard][int(row)]["text"]
    return found


def of_source(mixed: Mapping[str, Any], part: str, source: str) -> list[Mapping[str, Any]]:
    return [row for place, rows in mixed.items() if place.startswith(f"{part}/{source}/") for row in rows]


def test_the_plan_is_what_is_written(finished: Path, mixed: Mapping[str, Any]) -> None:
    plan = json.loads((finished / "mix" / "plan.json").read_bytes())["sources"]
    counts = manifest(finished, "mix")["counts"]
    parts = records(finished, "tokens")
    for source, one in plan.items():
        assert one["documents"] == one["available"]["documents"] == counts[source]["chosen"]
        assert one["tokens"] == one["available"]["tokens"] == counts[source]["chosen_tokens"]
        assert one["held_out"] == {
            "documents": counts[source]["held_out"],
            "tokens": counts[source]["held_out_tokens"],
            "bytes": sum(len(text_of(row["origin"]).encode()) for row in of_source(mixed, "held_out", source)),
        }
        chosen = of_source(mixed, "documents", source)
        assert one["bytes"] == one["available"]["bytes"] == sum(len(text_of(row["origin"]).encode()) for row in chosen)
        assert counts[source]["bytes_kept"] == one["bytes"] + one["held_out"]["bytes"]
        train = [part["counts"] for name, part in parts.items() if name.startswith("train/")]
        assert sum(part["tokens_by_source"].get(source, 0) for part in train) == one["tokens"]
        held = [part["counts"] for name, part in parts.items() if name.startswith(f"held_out/{source}/")]
        assert sum(part["tokens"] for part in held) == one["held_out"]["tokens"]
        assert counts[source]["tokens_kept"] == one["tokens"] + one["held_out"]["tokens"]


def splits(run: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted((run / "tokens").rglob("part-*.npy")):
        found.setdefault(path.parent.relative_to(run / "tokens").as_posix(), []).append(path)
    return found


def test_tokens_are_the_mixed_documents_in_keyed_order(finished: Path, mixed: Mapping[str, Any]) -> None:
    about = manifest(finished, "tokens")
    tokenizer = Tokenizer.from_file(str(finished / "tokenizer" / "tokenizer.json"))
    assert about["dtype"] == "uint16"
    for split, parts in splits(finished).items():
        part, _, source = split.partition("/")
        part = "documents" if part == "train" else part
        wanted = {
            row["origin"]: row["text"]
            for place, rows in mixed.items()
            if place.startswith(f"{part}/{source}")
            for row in rows
        }
        order = sorted(wanted, key=lambda origin: int(document_key([origin], seed=SEED, purpose="order")[0]))
        texts, origins = [], []
        for path in parts:
            ids = np.fromfile(path, "<u2")
            assert ids[-1] == about["eos"]
            bodies = np.split(ids, np.flatnonzero(ids == about["eos"]) + 1)[:-1]
            texts += [tokenizer.decode(body[:-1].tolist(), skip_special_tokens=False) for body in bodies]
            rows = pq.read_table(path.with_suffix(".parquet")).to_pylist()
            assert [row["end"] - row["start"] for row in rows] == [len(body) for body in bodies]
            assert (rows[0]["start"], rows[-1]["end"]) == (0, len(ids))
            origins += [row["origin"] for row in rows]
        assert origins == order
        assert texts == [wanted[origin] for origin in order]
    assert set(splits(finished)) == {"train", "held_out/web", "held_out/code", "held_out/forum"}


def test_parts_hold_at_most_what_the_recipe_says(finished: Path) -> None:
    train = [part["counts"]["tokens"] for name, part in records(finished, "tokens").items() if "train/" in name]
    assert len(train) > 3
    assert max(train) <= 4000


def test_kept_attributes_stand_beside_each_document(finished: Path) -> None:
    for parts in splits(finished).values():
        for path in parts:
            for row in pq.read_table(path.with_suffix(".parquet")).to_pylist():
                shard, _, number = row["origin"].rpartition("#")
                text = SHARDS[shard][int(number)]["text"]
                assert row["length_v1.words"] == len(text.split())
                assert row["marks_v1.digits"] == sum(c.isdigit() for c in text)
                assert row["source"] == shard.split("/")[0]
                assert row["epoch"] == 0
                assert row["cluster"] == attribute(finished, "minhash", shard)[int(number)]["group"]


def test_the_bad_line_is_in_failed_by_place_and_never_by_text(finished: Path) -> None:
    shard, line = BAD_PLACE
    assert sorted(path.relative_to(finished / "failed").as_posix() for path in (finished / "failed").rglob("*.*")) == [
        f"index/{shard}.jsonl"
    ]
    (failure,) = read_jsonl(finished / "failed" / "index" / f"{shard}.jsonl")
    assert (failure["line"], failure["path"]) == (line, FILES[shard].split("/", 1)[1])
    assert failure["reason"].startswith("invalid JSON")
    assert not any("secret" in str(value) for value in failure.values())


def test_outputs_in_the_manifests_are_the_files(finished: Path) -> None:
    import hashlib

    told: set[str] = set()
    for path in finished.rglob("manifest.json"):
        artifact = path.parent
        about = json.loads(path.read_bytes())
        told |= {path.relative_to(finished).as_posix()}
        outputs = about.get("outputs", [])
        if "shards" in about:
            lines = (artifact / "shards.jsonl").read_bytes()
            assert about["shards"]["sha256"] == hashlib.sha256(lines).hexdigest()
            told |= {(artifact / "shards.jsonl").relative_to(finished).as_posix()}
            outputs += [output for record in read_jsonl(artifact / "shards.jsonl") for output in record["outputs"]]
        root = artifact.parent if artifact.name == "verdicts" else artifact  # its files stand in two folders
        for output in outputs:
            content = (root / output["path"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (output["bytes"], output["sha256"])
            told |= {(root / output["path"]).relative_to(finished).as_posix()}
    assert {name for name in files(finished) if name not in told} == {"shards.jsonl", "failed/index/web/a.jsonl"}


def test_no_work_is_left_lying(finished: Path) -> None:
    left = [p for p in finished.rglob("*") if p.name.startswith(".") or p.name in ("edges", "elected", "lock.json")]
    assert left == []
    assert sorted(path.name for path in finished.iterdir()) == [
        *("attributes", "cache", "dedupe", "failed", "index", "log", "mix", "recipe.yaml", "shards.jsonl"),
        *("tokenizer", "tokens"),
    ]
    assert sorted(path.name for path in (finished / "cache").iterdir()) == ["ids", "judged"]
    assert sorted(path.name for path in (finished / "log").iterdir()) == [
        *("events.jsonl", "timings.json", "versions.jsonl"),
    ]


def test_manifests_name_no_place_outside_the_run(finished: Path, corpus: Path) -> None:
    for path in finished.rglob("manifest.json"):
        text = path.read_text(encoding="utf-8")
        assert str(corpus) not in text
        assert '"time' not in text
