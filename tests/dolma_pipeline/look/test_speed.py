"""The measure of speed: what it takes, when it ends; and the made-up texts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dolma_pipeline import registry
from dolma_pipeline.documents import MAX_BATCH_ROWS, Attributes, Document
from dolma_pipeline.look import speed
from dolma_pipeline.look.sample_text import sample_texts
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.tagging import DECLARED, tagger


@pytest.fixture(autouse=True)
def own_declarations() -> Iterator[None]:
    registry.tagger_specs()
    before = dict(DECLARED)
    yield
    DECLARED.clear()
    DECLARED.update(before)


def test_the_texts_are_the_same_each_time_and_as_long_as_asked() -> None:
    texts = sample_texts(num_bytes=50_000)
    assert texts == sample_texts(num_bytes=50_000) != sample_texts(num_bytes=50_000, seed=1)
    assert sum(len(text.encode()) for text in texts[:-1]) < 50_000 <= sum(len(text.encode()) for text in texts)
    whole = "\n".join(sample_texts(num_bytes=500_000))
    assert all(sign in whole for sign in ("@example.com", "https://", "192.0.2.", "…", "- ", "def ", "é", "\n\n"))


def test_bytes_of_the_last_piece_per_second_of_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    clock = [0.0]

    @tagger("counts_v1", fields={"n": int})
    def counts(doc: Document) -> Attributes:
        seen.append(len(doc.text))
        clock[0] += 0.01
        return {"n": 0}

    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    texts = ["x" * 999 + "é"] * 100  # 1,001 bytes each
    assert speed.megabytes_per_second(load_tagger("counts_v1"), texts) == pytest.approx(1001 / 0.01 / 1e6)
    assert len(seen) == 8 + 8 + 32  # once before, and two pieces: 0.4 seconds are then over
    assert speed.megabytes_per_second(load_tagger("counts_v1"), texts[:3]) == pytest.approx(1001 / 0.01 / 1e6)


def test_a_sample_fits_a_batch() -> None:
    assert len(speed.sample_batch(num_bytes=30_000)) <= MAX_BATCH_ROWS
