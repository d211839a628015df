from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.tokens import TokenDataset
from dolma_pipeline.tokens.sources import TokenSources, training_sources
from tests.dolma_pipeline.tokens.test_dataset import write


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(2, 12), min_size=1, max_size=6), min_size=1, max_size=3), st.integers(1, 12))
def test_the_source_of_each_token(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], length: int
) -> None:
    dataset = TokenDataset(write(tmp_path_factory.mktemp("train"), parts), sequence_length=length, dtype="uint16")
    found = TokenSources(dataset, ("code", "web"))
    for instance in range(len(dataset)):
        spans = dataset.documents(instance)
        expected = [("code", "web").index(span.source) for span in spans for _ in range(span.end - span.start)]
        assert found[instance].tolist() == expected


def test_sources_that_are_not_named(tmp_path: Path) -> None:
    dataset = TokenDataset(write(tmp_path, [[3, 5]]), sequence_length=8, dtype="uint16")
    assert TokenSources(dataset, ("web",))[0].tolist() == [0, 0, 0, -1, -1, -1, -1, -1]


def test_the_sources_that_a_manifest_counts(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"dtype": "uint16"}))
    assert training_sources(tmp_path) == ()
    counts = {"train": {"documents_by_source": {"web": 3, "code": 1}}, "held_out": {"documents_by_source": {"a": 1}}}
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": counts}))
    assert training_sources(tmp_path) == ("code", "web")


def test_tables_that_are_missing_or_of_another_run(tmp_path: Path) -> None:
    dataset = TokenDataset(write(tmp_path / "a", [[3, 5]]), sequence_length=4, dtype="uint16")
    other = write(tmp_path / "b", [[3, 6]]) / "part-00000.parquet"
    (tmp_path / "a" / "part-00000.parquet").write_bytes(other.read_bytes())
    with pytest.raises(MisalignedError, match=r"part-00000\.parquet: its documents end at token 9, but the part has 8"):
        TokenSources(dataset, ("web",))[0]
    (tmp_path / "a" / "part-00000.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00000\.parquet: missing.*train\.loss_by_source: false"):
        TokenSources(dataset, ("web",))[0]
