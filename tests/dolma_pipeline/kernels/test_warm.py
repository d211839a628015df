"""`warm` names modules that exist and leaves nothing to compile for the types that run."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pyarrow as pa
import pytest

from dolma_pipeline import kernels
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels import c4, gopher, lines, repetition, spans, words
from dolma_pipeline.kernels.warm import MODULES, warm, warm_once
from taggers.c4 import C4
from taggers.gopher import Gopher


def test_every_named_module_has_kernels_to_warm() -> None:
    here = {f"dolma_pipeline.kernels.{module.name}" for module in pkgutil.iter_modules(kernels.__path__)}
    assert set(MODULES) <= here
    assert all(callable(importlib.import_module(name).warm) for name in MODULES)


def test_real_batches_compile_nothing_after_warm() -> None:
    warm()
    dispatchers = [words._split, lines._split_lines, lines._split_paragraphs, spans._to_points, gopher._quality,
                   repetition._repetition, c4._judge]  # fmt: skip
    before = [len(dispatcher.signatures) for dispatcher in dispatchers]
    assert before == [1] * len(dispatchers)
    for batch in (
        Batch.of(["One text.", "", "two"]),
        Batch.of(["", ""]),
        Batch(Batch.of(["a", "b", "c"]).table.slice(1)),
    ):
        Gopher().tag(batch)
        C4().tag(batch)
        batch.spans(batch.words.rows[:0], batch.words.starts[:0], batch.words.ends[:0], batch.words.chars[:0])
        assert len(batch.paragraphs.rows) == len(batch) + 1
    nothing = Batch(
        pa.RecordBatch.from_pydict({name: [] for name in batch.table.schema.names}, schema=batch.table.schema)
    )
    assert len(nothing.words.starts) == 0
    assert [len(dispatcher.signatures) for dispatcher in dispatchers] == before


def test_once_is_once_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("dolma_pipeline.kernels.warm.warm", lambda: calls.append("warm"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    warm_once()
    warm_once()
    assert calls == ["warm"]
    monkeypatch.setattr("dolma_pipeline.kernels.warm.version", lambda name: "another")
    warm_once()
    assert calls == ["warm", "warm"]
    assert len(list((tmp_path / "cache").iterdir())) == 2
