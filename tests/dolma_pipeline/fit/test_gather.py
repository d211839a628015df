"""Texts of a sample: each once, in the order of keys, in one of two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.fit import gather as module
from dolma_pipeline.fit.gather import gather, is_held_out
from dolma_pipeline.fit.sample import Chunk, Sample, sample_keys
from dolma_pipeline.storage.scratch import Scratch


@dataclass
class ListSet:
    """Documents in memory: text, source, unit."""

    rows: list[tuple[str, str, str]]
    name: str = "a list"
    unit: str = "text"

    def _chunk(self) -> Chunk:
        texts = [text for text, _, _ in self.rows]
        sizes = np.array([len(text.encode()) for text in texts], np.int64)
        return Chunk(text_keys(Batch.of(texts)).hi, sizes, [row[1] for row in self.rows], [row[2] for row in self.rows])

    def look(self) -> Iterator[Chunk]:
        yield self._chunk()

    def texts(self, choose: Callable[[Chunk], Any]) -> Iterator[tuple[Chunk, pa.Array]]:
        rows = choose(self._chunk())
        yield self._chunk().take(rows), pa.array([self.rows[row][0] for row in rows.tolist()], pa.string())

    def record(self) -> dict[str, Any]:
        return {}


def gathered(*sets: ListSet, held_out: float = 0.3) -> list[dict[str, Any]]:
    taken = []
    for one in sets:
        sample = Sample(seed=5)
        sample.add(one._chunk())
        taken.append(([one], sample.close()))
    scratch = Scratch()
    try:
        tables = gather(taken, scratch, seed=5, held_out=held_out).tables()
        return [row for table in tables for row in table.to_pylist()]
    finally:
        scratch.close()


@pytest.mark.parametrize("stretch", [1, 40, 10**6])
def test_texts_come_once_in_the_order_of_their_keys(monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    monkeypatch.setattr(module, "STRETCH_BYTES", stretch)
    good = ListSet(
        [(f"good {i % 20}", "web" if i < 20 else "books", f"u{i % 20}") for i in range(40)] + [("", "web", "")]
    )
    bad = ListSet([(f"bad text {i}", "web", f"v{i}") for i in range(30)])
    rows = gathered(good, bad)
    texts = [row["text"] for row in rows]
    assert sorted(texts) == sorted({text for text, _, _ in good.rows + bad.rows} - {""})
    keys = sample_keys(text_keys(Batch.of(texts)).hi, seed=5).tolist()
    assert keys == sorted(keys)
    assert [row["place"] for row in rows] == list(range(50))
    for row in rows:
        assert row["label"] == int(row["text"].startswith("bad"))
        assert row["source"] == ("web" if row["label"] else "books")  # the first by name of those that have the text
    assert rows == gathered(ListSet(good.rows[::-1]), ListSet(bad.rows[::-1]))


def test_a_unit_is_in_one_part_and_parts_have_their_share() -> None:
    rows = gathered(ListSet([(f"text {i}", "web", f"unit {i // 4}") for i in range(4000)]))
    parts: dict[str, set[bool]] = {}
    for row in rows:
        parts.setdefault(f"unit {int(row['text'].split()[1]) // 4}", set()).add(row["held_out"])
    assert {len(part) for part in parts.values()} == {1}
    assert 0.25 < sum(row["held_out"] for row in rows) / len(rows) < 0.35
    units = [f"unit {i}" for i in range(1000)]
    small, large = (is_held_out(units, seed=5, share=share) for share in (0.1, 0.3))
    assert not (small & ~large).any()
    assert is_held_out(units, seed=6, share=0.3).tolist() != large.tolist()


def test_documents_that_are_gone_are_an_error() -> None:
    before = ListSet([(f"text {i}", "web", f"{i}") for i in range(10)])
    sample = Sample(seed=5)
    sample.add(before._chunk())
    after = ListSet(before.rows[:-2], name="web/*.jsonl")
    scratch = Scratch()
    with pytest.raises(DataError, match=r"web/\*\.jsonl: 2 documents are not there any more\. Start again\."):
        gather([([after], sample.close())], scratch, seed=5, held_out=0.3)
    scratch.close()
