"""The index: every column against plain Python, and lines that gave no document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma_pipeline.run.columns import INDEX
from dolma_pipeline.run.manifests import read_lines
from tests.dolma_pipeline.stages.small import artifacts_of, jsonl, made, manifest, rows, small_run, table

TAG = {"taggers": ["length_v1"]}
TEXTS = ["", "plain", "Straße 😀 東京", "a\nb\u2028c\x00", "x" * 5000]
DOCUMENTS: list[dict[str, Any]] = [
    {"id": "a", "text": TEXTS[0], "source": "blog", "added": "2024-01-01", "created": "2020"},
    {"id": 7, "text": TEXTS[1], "metadata": {"url": "http://x", "stars": 3}},
    {"id": "c", "text": TEXTS[2], "metadata": '{"n": 1}'},
    {"text": TEXTS[3], "metadata": "plain words"},
    {"id": "e", "text": TEXTS[4], "metadata": None},
]


def expected(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the index says of the documents of a file, in plain Python."""
    found = []
    for row, one in enumerate(documents):
        data = one["text"].encode()
        hash_ = xxhash.xxh3_128_intdigest(data)
        found.append(
            {"row": row, "loc": row + 1, "chars": len(one["text"]), "bytes": len(data),
             "hash_hi": hash_ >> 64, "hash_lo": hash_ & (2**64 - 1)}
        )  # fmt: skip
    return found


def test_every_column(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": DOCUMENTS}, tag=TAG)
    found = table(run, "index/web/a.parquet")
    assert found.schema.equals(INDEX)
    numbers = list(expected(DOCUMENTS)[0])
    assert found.select(numbers).to_pylist() == expected(DOCUMENTS)
    assert found.column("id").to_pylist()[:3] == ["a", "7", "c"]
    assert found.column("document_source").to_pylist()[0] == "blog"
    assert (found.column("added")[0].as_py(), found.column("created")[0].as_py()) == ("2024-01-01", "2020")
    assert [json.loads(one or "null") for one in found.column("metadata").to_pylist()[1:3]] == [
        {"url": "http://x", "stars": 3}, {"n": 1}
    ]  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30))
def test_numbers_of_any_text(tmp_path: Path, found: list[str]) -> None:
    documents = [{"id": str(i), "text": text} for i, text in enumerate(found)]
    run = made(tmp_path, {"web/a": documents}, tag=TAG)
    numbers = ["row", "loc", "chars", "bytes", "hash_hi", "hash_lo"]
    assert table(run, "index/web/a.parquet").select(numbers).to_pylist() == expected(documents)


def test_lines_that_give_no_document_are_counted_and_told(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": ["one", "two", "three"]}, tag=TAG)
    path = tmp_path / "in/web/a.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + '{"id": "bad", "text": "secret\n' + lines[1] + '{"id": "no text"}\n' + lines[2])
    from tests.dolma_pipeline.stages.small import make, run_of

    run = run_of(run.recipe, run.folder.__class__(f"{run.folder.url}x"))
    make(run)
    found = rows(run, "index/web/a.parquet")
    assert [(one["row"], one["loc"]) for one in found] == [(0, 1), (1, 3), (2, 5)]
    failed = jsonl(run, "failed/index/web/a.jsonl")
    assert [(one["line"], one["path"]) for one in failed] == [(2, "a.jsonl"), (4, "a.jsonl")]
    assert all(one["reason"] for one in failed)
    assert b"secret" not in run.folder.read("failed/index/web/a.jsonl")
    (line,) = read_lines(run.folder, "index")
    assert line["counts"] == {
        "in": 5, "kept": 3, "dropped": 0, "failed": 2, "bytes_in": 11, "lost_files": 0
    }  # fmt: skip
    assert (line["inputs"][0]["path"], line["outputs"][0]["rows"]) == ("a.jsonl", 3)


def test_a_file_that_ends_early_is_lost_and_what_came_before_is_kept(tmp_path: Path) -> None:
    import gzip

    documents = [{"id": str(i), "text": f"text {i * 7919}"} for i in range(2000)]
    data = gzip.compress("".join(json.dumps(one) + "\n" for one in documents).encode(), mtime=0)
    (tmp_path / "in/web").mkdir(parents=True)
    (tmp_path / "in/web/a.jsonl.gz").write_bytes(data[: len(data) // 2])
    recipe_sources = {"web": {"documents": f"{tmp_path}/in/web/*"}}
    run = made(tmp_path, {"web/b": ["fine"]}, tag=TAG, sources=recipe_sources)
    lines = {line["shard"]: line for line in read_lines(run.folder, "index")}
    assert (lines["web/a"]["counts"]["lost_files"], lines["web/b"]["counts"]["lost_files"]) == (1, 0)
    assert lines["web/a"]["lost"]
    kept = lines["web/a"]["counts"]["kept"]
    assert 0 < kept < 2000
    assert [one["chars"] for one in rows(run, "index/web/a.parquet")] == [len(d["text"]) for d in documents[:kept]]
    assert jsonl(run, "failed/index/web/a.jsonl")[-1]["lost"] is True


def test_parquet_and_ranges_of_it_mean_the_same(tmp_path: Path) -> None:
    columns = {"blob": ["one", "two", "three", "four"], "n": [1, 2, 3, 4]}
    (tmp_path / "in/code").mkdir(parents=True)
    pq.write_table(pa.table(columns), tmp_path / "in/code/p.parquet", row_group_size=2)
    sources = {"code": {"documents": f"{tmp_path}/in/code/*", "fields": {"text": "blob"}}}
    run = small_run(tmp_path, {"web/a": ["x"]}, tag=TAG)
    from dolma_pipeline.io.shards import Shard, shard_lines
    from dolma_pipeline.run import layout
    from tests.dolma_pipeline.stages.small import make, run_of, small_recipe

    recipe = small_recipe(tmp_path, ["web", "code"], tag=TAG, sources=sources)
    whole = run_of(recipe, run.folder.__class__(f"{run.folder.url}1"))
    make(whole)
    cut = run_of(recipe, run.folder.__class__(f"{run.folder.url}2"))
    shards = [Shard(f"code/p@{i:05d}", "code", "p.parquet", "parquet", i, i + 1, bytes=9) for i in (0, 1)]
    cut.folder.write(layout.SHARDS, shard_lines([*shards, Shard("web/a", "web", "a.jsonl", "jsonl", bytes=20)]))
    make(cut)
    found = rows(whole, "index/code/p.parquet")
    assert [one["bytes"] for one in found] == [3, 3, 5, 4]
    parts = [rows(cut, f"index/code/p@{i:05d}.parquet") for i in (0, 1)]
    assert [one["hash_lo"] for part in parts for one in part] == [one["hash_lo"] for one in found]
    assert [[one["row"] for one in part] for part in parts] == [[0, 1], [0, 1]]
    assert len({line["inputs"][0]["sha256"] for line in read_lines(cut.folder, "index")}) == 3


def test_fields_concern_their_source_alone(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": ["x"], "code/b": ["y"]}, tag=TAG, sources={"code": {"fields": {"id": "key"}}})
    plain = small_run(tmp_path, {"web/a": ["x"], "code/b": ["y"]}, tag=TAG)
    one, other = artifacts_of(run)["index"], artifacts_of(plain)["index"]
    assert one.digest == other.digest
    assert one.source_digests["web"] == other.source_digests["web"]
    assert one.source_digests["code"] != other.source_digests["code"]


def test_the_manifest(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": ["x", "y"], "code/b": []}, tag=TAG, normalize=["nfc"])
    found = manifest(run, "index")
    assert found["config"] == {"normalize": ["nfc"]}
    assert {s: c["kept"] for s, c in found["counts"].items()} == {"web": 2, "code": 0}
    assert rows(run, "index/code/b.parquet") == []


@pytest.mark.parametrize("steps", [["nfc"], ["whitespace"], ["nfc", "whitespace"]])
def test_normalized_texts_are_what_is_measured(tmp_path: Path, steps: list[str]) -> None:
    run = made(tmp_path, {"web/a": ["e\u0301cole  du\tsoir "]}, tag=TAG, normalize=steps)
    (found,) = rows(run, "index/web/a.parquet")
    alone = {"nfc": "\u00e9cole  du\tsoir ", "whitespace": "e\u0301cole du soir"}
    text = alone[steps[0]] if len(steps) == 1 else "\u00e9cole du soir"
    assert (found["chars"], found["bytes"]) == (len(text), len(text.encode()))
