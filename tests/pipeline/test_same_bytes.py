"""The same bytes wherever a run's folder and corpus are, whatever carries it out; a digest of them stands in git."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from dolma_pipeline.engines import Engine, Here
from dolma_pipeline.engines.local import Local
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from tests.pipeline.tiny import engine, files, promised, recipe, tree

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_run.json"


def memory_files(url: str) -> dict[str, str]:
    """As `files`, of a folder in memory."""
    folder = run_folder(url)
    names = [entry.name for entry in folder.list() if promised(entry.name)]
    return {name: hashlib.sha256(folder.read(name)).hexdigest() for name in names}


@pytest.mark.parametrize(
    ("one", "name"),
    [(Here(seed=1, repeated=0.5, again=True), "here"), (Local(1), "local")],
    ids=["here, shuffled and repeated", "local in memory"],
)
def test_a_folder_in_memory_gets_the_same_bytes(finished: Path, here: Path, one: Engine, name: str) -> None:
    url = f"memory://same-{name}"
    with engine(one):
        run(recipe(url), quiet=True)
        assert run(recipe(url), quiet=True).nothing_to_do
    assert memory_files(url) == files(finished)
    run_folder(url).delete([entry.name for entry in run_folder(url).list()])


def test_a_corpus_and_its_run_copied_elsewhere_are_the_same(
    finished: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    """Other absolute paths, other change times; the run knows its work again, and goes on to the same bytes."""
    shutil.copytree(corpus / "in", tmp_path / "far/away/in")
    shutil.copy(corpus / "marks.py", tmp_path / "marks.py")
    shutil.copytree(finished, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "far").rglob("*.*"):
        os.utime(path, (1, 1))
    sources = {name: {"documents": f"{tmp_path}/far/away/in/{name}/*"} for name in ("web", "code", "forum")}
    assert run(recipe("moved", sources=sources), quiet=True).nothing_to_do
    run(recipe("moved", sources=sources, mix__target_tokens=5000), redo=True, quiet=True)
    with contextlib.chdir(corpus):
        run(recipe(tmp_path / "fresh", mix__target_tokens=5000), quiet=True)
    assert files(tmp_path / "moved") == files(tmp_path / "fresh")
    assert str(corpus) not in (tmp_path / "moved/recipe.yaml").read_text()


def content(path: Path) -> bytes:
    """What a file says, whatever compresses it: rows of Parquet, unpacked lines, records without bytes and hashes."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        rows = "".join(json.dumps(row, default=bytes.hex, sort_keys=True) + "\n" for row in table.to_pylist())
        return f"{table.schema.remove_metadata()}\n{rows}".encode()
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.name == "manifest.json":
        about = without_packing(json.loads(data))
        del about["made_by"]  # versions of libraries
        about.get("shards", {}).pop("sha256", None)
        return json.dumps(about, sort_keys=True).encode()
    if path.name == "shards.jsonl":
        return b"".join(json.dumps(without_packing(json.loads(line))).encode() for line in data.splitlines())
    return data


def without_packing(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record, or a manifest, without the sizes and hashes of packed outputs."""
    outputs = [
        {key: value for key, value in one.items() if key not in ("bytes", "sha256") or one["path"].endswith(".npy")}
        for one in record.get("outputs", ())
    ]
    return {**record, **({"outputs": outputs} if "outputs" in record else {})}


def test_the_golden_digest(finished: Path) -> None:
    """What a tiny run writes, part by part. Where this fails on purpose: write what it prints to the golden file."""
    hashes: dict[str, Any] = {}
    for name in sorted(files(finished)):
        part = hashes.setdefault(name.split("/")[0], hashlib.sha256())
        part.update(name.encode() + b"\0" + hashlib.sha256(content(finished / name)).digest())
    found = {part: one.hexdigest() for part, one in hashes.items()}
    assert found == json.loads(GOLDEN.read_text()), json.dumps(found, indent=1, sort_keys=True)


CHANGES: list[dict[str, Any]] = [
    {"mix__where": {"words": "length_v1.words >= 12", "unique": "exact.keep AND minhash.keep"}},
    {"seed": 5},
    {"mix__replace": [{"spans": "marks_v1.names", "with": " |||NAME||| someone "}]},
    {"mix__target_tokens": 9000, "mix__max_epochs": 2},
    {"tokens__max_shard_tokens": 3000},
    {"mix__where": {"unique": "exact.keep AND minhash.keep", "words": "length_v1.words BETWEEN 9 AND 50"}},
    {"dedupe__prefer": "chars DESC"},
    {"seed": 3},
]


def test_a_path_of_smaller_changes_leads_to_the_same_bytes(
    finished: Path, copied: Path, here: Path, tmp_path: Path, plain: None
) -> None:
    """Threshold, seed, edit, budget, parts, order; every other time without the cache. A fresh run is the judge.

    The tokenizer is loaded: so what is kept of documents that were encoded before counts.
    """
    loaded = {"tokenizer": {"load": str(finished / "tokenizer/tokenizer.json"), "special_tokens": ["<|endoftext|>"]}}
    settings: dict[str, Any] = {}
    run(recipe(copied, **loaded), redo=True, quiet=True)
    for number, change in enumerate(CHANGES):
        settings |= change
        if number % 2:
            shutil.rmtree(copied / "cache")
        run(recipe(copied, **loaded, **settings), redo=True, quiet=True)
        if number % 2 == 0:
            continue
        fresh = tmp_path / f"fresh{number}"
        run(recipe(fresh, **loaded, **settings), quiet=True)
        assert files(copied) == files(fresh), change
    assert run(recipe(copied, **loaded, **settings), quiet=True).nothing_to_do


@pytest.mark.parametrize("change", CHANGES[:4], ids=["threshold", "seed", "edit", "budget"])
@pytest.mark.parametrize("cache", [True, False], ids=["with its cache", "without"])
def test_one_change_with_and_without_the_cache(
    copied: Path, here: Path, tmp_path: Path, plain: None, change: dict[str, Any], cache: bool
) -> None:
    """The tokenizer is trained anew where the change concerns its text."""
    if not cache:
        shutil.rmtree(copied / "cache")
    run(recipe(copied, **change), redo=True, quiet=True)
    run(recipe(tmp_path / "fresh", **change), quiet=True)
    assert files(copied) == files(tmp_path / "fresh")


def test_the_recipe_that_is_written_makes_the_same_run(finished: Path, here: Path, tmp_path: Path, plain: None) -> None:
    from dolma_pipeline.config import load_recipe

    again = load_recipe(str(finished / "recipe.yaml"), f"output={tmp_path / 'run'}")
    run(again, quiet=True)
    assert files(tmp_path / "run") == files(finished)
    assert tree()["seed"] == again.seed
