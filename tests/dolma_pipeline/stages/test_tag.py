"""Taggers as consumers: columns row by row, failures told, files of both formats, digests of their own files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline.errors import ConfigError
from dolma_pipeline.registry import _forget as forget_file
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import STAGES
from tests.dolma_pipeline.stages.small import artifacts_of, jsonl, made, make, manifest, phases_of, rows, small_run

TEXTS = ["one two", "", "drei vier fünf", "boom"]

MODULE = '''
import dolma_pipeline as dp

@dp.tagger("picky_v1", fields={"chars": int, "spans": list[dp.Span]})
def picky(doc: dp.Document, *, bad: str = "boom") -> dp.Attributes:
    """Refuses one text."""
    if doc.text == bad:
        raise ValueError("it said boom")
    return {"chars": len(doc.text), "spans": [dp.Span(0, 1)] if doc.text else []}
'''


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "mine.py"
    path.write_text(MODULE)
    yield str(path)
    forget_file(str(path))


def test_columns_beside_documents(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS, "code/b": []}, tag={"taggers": ["length_v1"]})
    words = [row["length_v1"]["words"] for row in rows(run, "attributes/length_v1/web/a.parquet")]
    assert words == [len(text.split()) for text in TEXTS]
    assert rows(run, "attributes/length_v1/code/b.parquet") == []
    lines = {line["shard"]: line for line in read_lines(run.folder, "attributes/length_v1")}
    assert lines["web/a"]["counts"] == {"in": 4, "kept": 4, "dropped": 0, "failed": 0, "bytes_in": 26}
    assert lines["web/a"]["outputs"][0]["path"] == "web/a.parquet"


def test_a_document_on_which_a_tagger_fails(tmp_path: Path, module: str) -> None:
    run = made(tmp_path, {"web/a": TEXTS}, modules=[module], tag={"taggers": ["picky_v1", "length_v1"]})
    found = [row["picky_v1"] for row in rows(run, "attributes/picky_v1/web/a.parquet")]
    assert [one and one["chars"] for one in found] == [7, 0, 14, None]
    (failure,) = jsonl(run, "failed/attributes/picky_v1/web/a.jsonl")
    assert (failure["row"], failure["line"], failure["id"], failure["path"]) == (3, 4, "d3", "a.jsonl")
    assert "ValueError" in failure["reason"]
    assert run.folder.stat("failed/attributes/length_v1/web/a.jsonl") is None
    (line,) = read_lines(run.folder, "attributes/picky_v1")
    assert (line["counts"]["kept"], line["counts"]["failed"]) == (3, 1)
    assert manifest(run, "attributes/length_v1")["counts"]["web"]["failed"] == 0


def test_all_taggers_read_together_and_one_that_is_added_reads_alone(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, tag={"taggers": ["length_v1", {"tagger": "length_v1", "name": "b"}]})
    (phase,) = phases_of(run)
    assert [one.name for one in phase.consumers] == ["index", "attributes/length_v1", "attributes/b"]  # type: ignore[attr-defined]
    make(run)
    more = small_run(tmp_path, {"web/a": TEXTS}, where=run.folder,
                     tag={"taggers": ["length_v1", "c4_v1", {"tagger": "length_v1", "name": "b"}]})  # fmt: skip
    (phase,) = phases_of(more)
    assert [one.name for one in phase.consumers] == ["attributes/c4_v1"]  # type: ignore[attr-defined]


def test_dolma_files(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS[:2]}, tag={"taggers": ["length_v1"], "format": "jsonl"})
    lines = gzip.decompress(run.folder.read("attributes/length_v1/web/a.jsonl.gz")).splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["id"] for one in found] == ["d0", "d1"]
    assert found[0]["attributes"]["length_v1__length_v1__words"] == [[0, 7, 2.0]]


def test_what_a_digest_depends_on(tmp_path: Path, module: str) -> None:
    def digests(taggers: list[object]) -> dict[str, str]:
        run = small_run(tmp_path, {"web/a": TEXTS}, modules=[module], tag={"taggers": taggers})
        return {name: one.digest for name, one in artifacts_of(run).items()}

    before = digests(["picky_v1", "length_v1"])
    other = digests([{"tagger": "picky_v1", "bad": "x"}, "length_v1"])
    assert before.keys() == other.keys()
    assert [name for name in before if before[name] != other[name]] == ["attributes/picky_v1"]
    Path(module).write_text(MODULE + "\n# another comment\n")
    changed = digests(["picky_v1", "length_v1"])
    assert [name for name in before if before[name] != changed[name]] == ["attributes/picky_v1"]


def test_the_file_of_an_importable_module_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packaged_taggers.py").write_text(MODULE.replace("picky_v1", "packaged_v1"))
    monkeypatch.syspath_prepend(str(tmp_path))
    run = small_run(tmp_path, {"web/a": TEXTS}, modules=["packaged_taggers"], tag={"taggers": ["packaged_v1"]})
    (files,) = [one.files for one in artifacts_of(run).values() if one.name == "attributes/packaged_v1"]
    assert [*files] == ["modules: packaged_taggers (tagger packaged_v1)"]
    assert len(files["modules: packaged_taggers (tagger packaged_v1)"]) == 64


def test_a_tagger_of_the_script_that_is_run(tmp_path: Path, module: str) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, modules=[module], tag={"taggers": ["picky_v1"]})
    process = Process.of(run)
    tagger = process.tagger(run.recipe.tag.taggers[0])  # type: ignore[union-attr]
    tagger.spec.object.__module__ = "__main__"
    with pytest.raises(ConfigError, match=r"tagger 'picky_v1' is declared in the script that is run, where workers do"):
        STAGES["tag"].check(process)
