"""Finished artifacts: closed once, the same from whoever closes; what is missing, gone or another is told."""

from __future__ import annotations

import hashlib
import secrets
import threading
from typing import Any

import orjson
import pytest

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, is_finished, output_record, read_lines, read_manifest
from dolma_pipeline.storage.folder import RunFolder, run_folder

TAGGED = Artifact("attributes/a", "tag", {"tag.taggers.a.n": 1}, {"web": {"k": 1}}, sources=("web",), growing=True)
SHARDS = "sha256:5"


@pytest.fixture
def folder() -> RunFolder:
    return run_folder(f"memory://{secrets.token_hex(8)}")


def record(shard: str, kept: int = 2) -> dict[str, Any]:
    return {"shard": shard, "inputs": [], "outputs": [], "counts": {"in": 3, "kept": kept, "dropped": 0, "failed": 1}}


def closed(folder: RunFolder, *shards: str, artifact: Artifact = TAGGED, **more: Any) -> dict[str, Any]:
    return close(folder, artifact, [record(s) for s in shards], shards_digest=SHARDS, **more)


def test_what_is_written(folder: RunFolder) -> None:
    found = closed(folder, "web/b", "web/a", extra={"plan": {"web": 1}}, expected=["web/a", "web/b"])
    assert orjson.loads(folder.read("attributes/a/manifest.json")) == found == read_manifest(folder, "attributes/a")
    lines = folder.read("attributes/a/shards.jsonl")
    assert [orjson.loads(line)["shard"] for line in lines.splitlines()] == ["web/a", "web/b"]
    assert found["shards"] == {"file": "shards.jsonl", "num_shards": 2, "sha256": hashlib.sha256(lines).hexdigest()}
    assert found["counts"] == {"web": {"in": 6, "kept": 4, "dropped": 0, "failed": 2}}
    assert (found["format"], found["plan"], found["needs"]) == (2, {"web": 1}, {"shards.jsonl": SHARDS})
    assert found["config"] == {"tag.taggers.a.n": 1}
    assert found["source_config"] == {"web": {"k": 1}}
    assert list(read_lines(folder, "attributes/a")) == [record("web/a"), record("web/b")]


def test_nothing_finished(folder: RunFolder) -> None:
    assert read_manifest(folder, "attributes/a") is None
    assert list(read_lines(folder, "attributes/a")) == []
    assert not is_finished(folder, TAGGED, SHARDS)


def test_closing_again_changes_nothing(folder: RunFolder) -> None:
    closed(folder, "web/a")
    before = {entry: folder.read(entry.name) for entry in folder.list()}
    closed(folder, "web/a")
    assert {entry: folder.read(entry.name) for entry in folder.list()} == before, "not even written anew"


def test_many_close_at_once(folder: RunFolder) -> None:
    errors: list[RunError | DataError] = []

    def one() -> None:
        try:
            closed(folder, *(f"web/{i}" for i in range(50)))
        except (RunError, DataError) as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(read_lines(folder, "attributes/a"))) == 50


def test_another_one_is_refused_and_harms_nothing(folder: RunFolder) -> None:
    closed(folder, "web/a")
    with pytest.raises(RunError, match=r"attributes/a/manifest\.json: another manifest is there already: two runs"):
        closed(folder, "web/a", "web/b")
    assert [line["shard"] for line in read_lines(folder, "attributes/a")] == ["web/a"]


def test_missing_records_are_counted_and_named(folder: RunFolder) -> None:
    expected = [f"web/{i}" for i in range(9)]
    with pytest.raises(RunError) as caught:
        closed(folder, "web/3", expected=expected)
    assert str(caught.value) == (
        "attributes/a: 8 of 9 are not done: web/0, web/1, web/2. The same command goes on from there."
    )
    assert list(folder.list()) == []


def test_records_that_nobody_expects_are_left_out(folder: RunFolder) -> None:
    closed(folder, "web/a", "web/gone", expected=["web/a"])
    assert [line["shard"] for line in read_lines(folder, "attributes/a")] == ["web/a"]


@pytest.mark.parametrize(
    ("artifact", "shards", "finished"),
    [
        (TAGGED, SHARDS, True),
        (TAGGED, "sha256:6", False),
        (Artifact("attributes/a", "tag", {"tag.taggers.a.n": 2}, {"web": {"k": 1}}), SHARDS, False),
        (Artifact("attributes/a", "tag", {"tag.taggers.a.n": 1}, {"web": {"k": 2}}), SHARDS, False),
    ],
)
def test_finished_is_for_these_settings_and_shards(
    folder: RunFolder, artifact: Artifact, shards: str, finished: bool
) -> None:
    closed(folder, "web/a")
    assert is_finished(folder, artifact, shards) is finished


def test_damage_is_told(folder: RunFolder) -> None:
    closed(folder, "web/a")
    folder.write("attributes/a/shards.jsonl", b"{}\n")
    with pytest.raises(DataError, match=r"attributes/a/shards\.jsonl: not the list that its manifest tells of"):
        list(read_lines(folder, "attributes/a"))
    folder.delete(["attributes/a/shards.jsonl"])
    with pytest.raises(DataError, match=r"attributes/a/shards\.jsonl: gone, but its manifest tells of it\. Run again"):
        list(read_lines(folder, "attributes/a"))
    folder.write("attributes/a/manifest.json", b"{")
    with pytest.raises(DataError, match=r"attributes/a/manifest\.json: damaged .* Delete memory://.*/attributes/a and"):
        read_manifest(folder, "attributes/a")


def test_output_records_start_at_the_artifact(folder: RunFolder) -> None:
    with folder.committing("mix/dropped/web/a.parquet") as file:
        file.write(b"abc")
    found = output_record(Artifact("mix/verdicts", "mix", root="mix"), "mix/dropped/web/a.parquet", file, rows=3)
    sha256 = hashlib.sha256(b"abc").hexdigest()
    assert found == {"path": "dropped/web/a.parquet", "rows": 3, "bytes": 3, "sha256": sha256}
