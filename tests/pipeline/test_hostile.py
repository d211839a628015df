"""Input that is broken in every known way: good documents come through, bad ones are reported, never by their text."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import TooManyFailuresError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import document, files, make_documents, read_jsonl, recipe, write_documents

NOTHING = dict.fromkeys(("dedupe", "tokens"))


def hostile_changes(data: Path) -> dict[str, Any]:
    """All hostile files but one in UTF-16, which is told before a run, up to the mix, without rules."""
    whole = sorted(str(path) for path in (data / "hostile").glob("*.jsonl*") if path.name != "utf16.jsonl")
    return {
        "sources": {"bad": {"documents": [*whole, str(data / "hostile/names/**/*")]}},
        "tag": {"taggers": ["length_v1", "gopher_v1", "c4_v1"]},
        "tokenizer": {"train": "bpe", "vocab_size": 400, "sample_bytes": 2_000_000},
        "mix": {},
        **NOTHING,
    }


@pytest.fixture(scope="module")
def hostile(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TooManyFailuresError]:
    """A run over all hostile files; it ends with files that could not be read to their end."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    with pytest.raises(TooManyFailuresError) as caught:
        run(recipe(folder, **hostile_changes(data)), quiet=True)
    return folder, caught.value


def manifest_lines(data: Path) -> list[dict[str, Any]]:
    lines = read_jsonl(data / "hostile/manifest.jsonl")
    return [line for line in lines if not line["file"].endswith("/") and line["file"] != "utf16.jsonl"]


def outputs(folder: Path, path: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Documents in the mix, and failures, of an input file."""
    paths = (path, path.removeprefix("names/"))  # below the fixed prefix of the pattern that finds it
    (shard,) = [s["name"] for s in read_jsonl(folder / "shards.jsonl") if s["path"] in paths]
    failed = folder / "failed" / "index" / f"{shard}.jsonl"
    documents = read_jsonl(folder / "mix" / "documents" / f"{shard}.jsonl.zst")
    return documents, read_jsonl(failed) if failed.exists() else []


def test_good_documents_come_through_and_the_rest_is_reported(
    hostile: tuple[Path, TooManyFailuresError], data: Path
) -> None:
    folder, _ = hostile
    for line in manifest_lines(data):
        documents, failures = outputs(folder, line["file"])
        found, good = Counter(str(one["id"]) for one in documents), Counter(line["good_ids"])
        other = Counter(line.get("alt_good_ids", line["good_ids"]))
        assert good <= found or other <= found, line["file"]
        if line["n_bad_lines"] == 0 and "error" not in line and not line.get("lenient"):
            assert found == good, line["file"]
            assert failures == [], line["file"]
        if line.get("error", "maybe") != "maybe" and not (found == other != good):
            assert failures, line["file"]
        for failure in failures:
            assert line["file"].endswith(failure["path"])
            assert failure["line"] >= 1
            assert 5 < len(failure["reason"]) < 300


def test_failures_never_hold_the_text(hostile: tuple[Path, TooManyFailuresError]) -> None:
    folder, _ = hostile
    kept = {"path", "reason", "line", "byte", "row", "id", "lost"}
    num_failures = 0
    for path in (folder / "failed").rglob("*.jsonl"):
        for failure in read_jsonl(path):
            assert set(failure) <= kept
            num_failures += 1
    assert num_failures > 60


def test_every_stage_saw_the_same_rows(hostile: tuple[Path, TooManyFailuresError]) -> None:
    folder, _ = hostile
    for shard in read_jsonl(folder / "shards.jsonl"):
        name = shard["name"]
        rows = {
            pq.read_metadata(folder / "attributes" / t / f"{name}.parquet").num_rows for t in ("length_v1", "c4_v1")
        }
        counts = next(r["counts"] for r in read_jsonl(folder / "mix" / "shards.jsonl") if r["shard"] == name)
        assert rows == {counts["kept"]}
        assert counts["in"] == counts["kept"] + counts["failed"]


def test_lost_files_are_exit_3_with_everything_else_written(hostile: tuple[Path, TooManyFailuresError]) -> None:
    folder, error = hostile
    assert error.exit_code == 3
    lost = {row["path"] for path in (folder / "failed").rglob("*.jsonl") for row in read_jsonl(path) if "lost" in row}
    assert len(lost) > 3
    assert str(error).startswith(f"{len(lost)} files could not be read to the end, more than max_failed_files 0 allows")
    assert all(f"({path}): " in str(error) for path in lost)
    assert str(error).endswith(" What could be read is written.")
    assert isinstance(error.result, Result)
    assert {one.path for one in error.result.lost_files} == lost
    assert (folder / "mix" / "manifest.json").is_file()


def test_too_many_documents_are_exit_3_too(hostile: tuple[Path, TooManyFailuresError], data: Path) -> None:
    folder, _ = hostile
    with pytest.raises(TooManyFailuresError) as caught:
        run(recipe(folder, max_failed_files=100, **hostile_changes(data)), quiet=True)
    error = caught.value
    assert " documents failed in mix, more than max_failed_share 0.01 allows; everything else is written." in str(error)
    assert "/failed/index/ has file, line and reason of each; most often: " in str(error)
    failed = int(str(error).split(" of ")[0])
    assert sum(int(count) for count in re.findall(r"\((\d+)\)", str(error))) <= failed
    assert isinstance(error.result, Result)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


RAISES = """
import dolma_pipeline as dp

@dp.tagger("marks_v1", fields={"names": list[dp.Span], "digits": float})
def marks(doc: dp.Document) -> dp.Attributes:
    \"\"\"Does not like hammers.\"\"\"
    if "hammer" in doc.text:
        raise ValueError("a hammer")
    return {"names": [], "digits": 1.0}
"""


def run_with_hammers(mine: Path, **changes: Any) -> Result:
    (mine / "marks.py").write_text(RAISES)
    documents = make_documents()["web/a"]
    write_documents(mine / "in" / "a.jsonl", documents)
    settings: dict[str, Any] = {
        "sources": {"web": {"documents": "in/*"}},
        "mix": {"where": {"digits": "marks_v1.digits > 0", "known": "marks_v1.digits IS NOT NULL"}},
        **NOTHING,
        **changes,
    }
    return run(recipe(mine / "run", **settings), quiet=True)


def test_a_tagger_that_raises_costs_its_document_only(mine: Path) -> None:
    result = run_with_hammers(mine, max_failed_share=1.0)
    documents = make_documents()["web/a"]
    hammers = [row for row, one in enumerate(documents) if "hammer" in one["text"]]
    assert len(hammers) > 10
    column = pq.read_table(mine / "run/attributes/marks_v1/web/a.parquet").column("marks_v1").to_pylist()
    assert [row for row, value in enumerate(column) if value is None] == hammers
    failures = read_jsonl(mine / "run/failed/attributes/marks_v1/web/a.jsonl")
    assert failures == [
        {
            "id": documents[row]["id"],
            "line": row + 1,
            "path": "a.jsonl",
            "reason": "ValueError: a hammer",
            "row": row,
        }
        for row in hammers
    ]
    counts = result.manifests["attributes/marks_v1"].counts["web"]
    assert (counts["in"], counts["kept"], counts["failed"]) == (70, 70 - len(hammers), len(hammers))
    assert result.manifests["attributes/length_v1"].counts["web"]["failed"] == 0
    rules = result.manifests["mix"].counts["web"]["rules"]
    assert rules["digits"] == {"first": len(hammers), "any": len(hammers), "alone": 0, "null": len(hammers)}
    assert rules["known"]["null"] == 0
    dropped = pq.read_table(mine / "run/mix/dropped/web/a.parquet").to_pylist()
    assert [one["row"] for one in dropped] == hammers
    assert json.loads(dropped[0]["values"])["marks_v1.digits"] is None


def test_too_many_stays_too_many(mine: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            TooManyFailuresError,
            match=r"^\d+ of 70 documents failed in attributes/marks_v1, more than max.* a hammer \(",
        ):
            run_with_hammers(mine)
    assert not run_with_hammers(mine, max_failed_share=0.9).manifests["mix"].counts["web"].failed


def test_failures_of_one_tagger_outlive_another_that_is_added(mine: Path) -> None:
    only = {"tag": {"taggers": ["marks_v1"]}, "modules": ["./marks.py"]}
    run_with_hammers(mine, max_failed_share=1.0, mix=None, tokenizer=None, **only)
    failures = (mine / "run/failed/attributes/marks_v1/web/a.jsonl").read_bytes()
    run_with_hammers(mine, max_failed_share=1.0, mix=None, tokenizer=None)
    assert (mine / "run/failed/attributes/marks_v1/web/a.jsonl").read_bytes() == failures != b""


def test_a_document_that_cannot_be_found_by_its_words_is_kept(mine: Path) -> None:
    """Texts without a word have no signature: two of them are no copies of each other."""
    import random

    texts = ["", "", " \n", "… !", "… !", "🙂🙂", "some words"]
    rng = random.Random(1)
    write_documents(mine / "in/a.jsonl", [{**document(rng, str(i)), "text": text} for i, text in enumerate(texts)])
    settings: dict[str, Any] = {"sources": {"web": {"documents": "in/*"}}, **dict.fromkeys(("tag", "tokenizer", "mix"))}
    run(recipe(mine / "run", **settings, tokens=None), quiet=True)
    column = pq.read_table(mine / "run/attributes/minhash/web/a.parquet").column(0).to_pylist()
    assert [(row["cluster"], row["size"], row["keep"]) for row in column] == [(f"web/a#{i}", 1, True) for i in range(7)]
    again = files(mine / "run")
    assert any("signatures" in name for name in again)
