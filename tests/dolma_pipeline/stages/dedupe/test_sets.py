"""The texts of some rows of a shard, from formats that leave others out and from those that give all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.stages.dedupe import sets

TEXTS = ["none", "one", "two", "three", "four", "five"]


class Shard:
    location = "somewhere"


def read(
    monkeypatch: pytest.MonkeyPatch,
    locs: Sequence[int],
    rows: list[int],
    *,
    leaves_out: bool,
    now: Sequence[str] = TEXTS,
) -> list[str]:
    """Texts of rows; now: what the file has by now, in batches of two."""
    keys, places = text_keys(Batch.of(TEXTS)), np.array(locs)
    index = pa.table({"loc": places, "hash_hi": keys.hi, "hash_lo": keys.lo})

    @contextmanager
    def documents(process: Any, shard: Any, report: Any, *, only: list[int] | None) -> Iterator[list[Batch]]:
        given = [row for row in range(len(now)) if not (leaves_out and only is not None) or locs[row] in only]
        yield [
            Batch(Batch.of([now[row] for row in some]).table, first_row=first, locs=places[some])
            for first in range(0, len(given), 2)
            if (some := given[first : first + 2])
        ]

    monkeypatch.setattr(sets, "read_index", lambda run, shard, columns: index.select(columns))
    monkeypatch.setattr(sets, "documents_of", documents)
    process: Any = type("Process", (), {"run": None})
    found = list(sets.texts_of_rows(process, Shard(), np.array(rows)))  # type: ignore[arg-type]
    assert [row for some, _ in found for row in some.tolist()] == rows
    return [text for _, batch in found for text in batch.strings]


@pytest.mark.parametrize("leaves_out", [True, False])
@pytest.mark.parametrize("locs", [[1, 2, 3, 4, 5, 6], [2, 3, 7, 8, 9, 20], [1, 1, 1, 1, 1, 1], [3, 2, 1, 9, 9, 4]])
def test_texts_of_some_rows(monkeypatch: pytest.MonkeyPatch, locs: list[int], leaves_out: bool) -> None:
    for rows in ([0], [5], [1, 2, 4], [2, 3], [0, 1, 2, 3, 4, 5]):
        assert read(monkeypatch, locs, rows, leaves_out=leaves_out) == [TEXTS[row] for row in rows]


@pytest.mark.parametrize("leaves_out", [True, False])
@pytest.mark.parametrize("now", [["none", "one", "2", "three", "four", "five"], TEXTS[:3]])
def test_another_text_or_none_is_an_error(monkeypatch: pytest.MonkeyPatch, now: list[str], leaves_out: bool) -> None:
    with pytest.raises(DataError, match=r"somewhere: the file was changed"):
        read(monkeypatch, [1, 2, 3, 4, 5, 6], [0, 2, 3], leaves_out=leaves_out, now=now)
