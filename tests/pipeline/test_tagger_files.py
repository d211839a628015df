"""A model of the user's in runs: it travels, and what is made depends on what is in it, not on where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.storage.fake_store import serving
from tests.fasttext_models import texts, train
from tests.pipeline.test_object_stores import hashes
from tests.pipeline.tiny import engine, files, recipe, write_documents


def settings(model: str, **more: Any) -> dict[str, Any]:
    tagger = {"tagger": "fasttext_v1", "name": "topic", "model": model, "labels": ["en"]}
    base: dict[str, Any] = {"sources": {"web": {"documents": "in/*"}}}
    return {**base, **dict.fromkeys(("dedupe", "tokens", "mix", "tokenizer")), "tag": {"taggers": [tagger]}, **more}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "in/a.jsonl", ({"id": str(i), "text": text} for i, text in enumerate(texts(5))))
    (tmp_path / "models").mkdir()
    return train(tmp_path / "models", "quality", wordNgrams=2)


def test_a_file_travels_and_may_move(model: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path / "run", **settings("models/quality.bin")), quiet=True)
    (name,) = (name for name in files(tmp_path / "run") if name.startswith("assets/"))
    assert name.endswith("/quality.bin")
    assert (tmp_path / "run" / name).read_bytes() == model.read_bytes()
    column = pq.read_table(tmp_path / "run/attributes/topic/web/a.parquet").column(0).to_pylist()
    assert len({row["en"] for row in column}) == 5
    before = files(tmp_path / "run")
    assert not any(b"models/quality" in path.read_bytes() for path in (tmp_path / "run/attributes").rglob("*.json"))
    (tmp_path / "elsewhere").mkdir()
    model.rename(tmp_path / "elsewhere/quality.bin")
    done = run(recipe(tmp_path / "run", **settings(str(tmp_path / "elsewhere/quality.bin"))), quiet=True)
    assert done.nothing_to_do
    assert files(tmp_path / "run") == before
    train(tmp_path / "elsewhere", "quality")
    with pytest.raises(UsageError, match=r"quality\.bin"):
        run(recipe(tmp_path / "run", **settings("elsewhere/quality.bin")), quiet=True)


def test_a_file_on_a_store_in_a_run_on_a_store(model: Path, tmp_path: Path) -> None:
    with serving() as server, engine(Here()):
        run(recipe(tmp_path / "run", **settings("models/quality.bin")), quiet=True)
        where = {"endpoint": server.endpoint}
        run_folder("s3://bucket/models", where).put("quality.bin", model)
        there = settings("s3://bucket/models/quality.bin", storage=where)
        run(recipe("s3://bucket/runs/one", **there), quiet=True)
        assert hashes(run_folder("s3://bucket/runs/one", where)) == files(tmp_path / "run")
        run(recipe(tmp_path / "near", **there), quiet=True)
        assert files(tmp_path / "near") == files(tmp_path / "run")


def test_what_is_wrong_is_said_before_anything_starts(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tag\.taggers\.0.*: no file models/other\.bin, looked for at /"):
        run(recipe(tmp_path / "run", **settings("models/other.bin")), quiet=True)
    with pytest.raises(ConfigError, match=r"tag\.taggers\.0.* bytes in each process .* max_memory is 2,000,000"):
        run(recipe(tmp_path / "run", **settings("models/quality.bin", max_memory=2_000_000)), quiet=True)
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"ends early, at byte 1000"):
        run(recipe(tmp_path / "run", **settings("models/quality.bin")), quiet=True)
    assert not (tmp_path / "run").exists()
