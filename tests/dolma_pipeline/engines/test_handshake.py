"""Workers that are made of something else than the launcher are refused, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dolma_pipeline.engines import handshake
from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.engines.handshake import compare, own_versions
from dolma_pipeline.errors import StageError
from tests.dolma_pipeline.engines.toys import CHAIN, memory_run


def test_what_is_equal_is_let_in() -> None:
    compare(own_versions())
    assert own_versions().python.count(".") == 1
    assert "not installed" not in vars(own_versions()).values()


@pytest.mark.parametrize("name", ["dolma_pipeline", "sources", "python", "beam", "pyarrow", "numpy", "duckdb"])
def test_what_differs_is_named_on_both_sides(name: str) -> None:
    own = getattr(own_versions(), name)
    with pytest.raises(StageError) as caught:
        compare(replace(own_versions(), **{name: "0.0"}))
    said = str(caught.value)
    assert f"the launcher has {name} 0.0; the worker has {name} {own}. They would make other bytes." in said
    assert "Install the same wheel of dolma-pipeline" in said


def test_the_hash_of_sources_tells_of_content_and_names(tmp_path: Path) -> None:
    kernel = tmp_path / "dolma_pipeline" / "kernels" / "words.py"
    kernel.parent.mkdir(parents=True)
    kernel.write_text("a = 1\n")
    before = handshake._sources(tmp_path)
    assert handshake._sources(tmp_path) == before
    kernel.write_text("a = 2\n")
    assert handshake._sources(tmp_path) != before
    kernel.write_text("a = 1\n")
    kernel.rename(kernel.with_name("lines.py"))
    assert handshake._sources(tmp_path) != before


def test_a_worker_that_differs_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = memory_run()
    real = handshake.own_versions()
    asked = iter([replace(real, numpy="1.0"), *[real] * 100])  # the launcher first
    monkeypatch.setattr(handshake, "own_versions", lambda: next(asked))
    with pytest.raises(StageError, match=r"^workers are not made of what the launcher .*: the launcher has num"):
        OnBeam("FnApiRunner").run(run, CHAIN)
    assert [entry.name for entry in run.folder.list("words")] == []
