from __future__ import annotations

import threading
from collections.abc import Collection

import pytest
import torch

from dolma_pipeline.errors import DataError
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.prefetch import Prefetched

PATIENCE = 30.0


class Source:
    """Batches of one instance, the step's number; notes what it was asked for, and may fail at a step."""

    def __init__(self, *, fails_at: int = 0) -> None:
        self.fails_at = fails_at
        self.asked: list[tuple[int, frozenset[int]]] = []
        self.seen = {step: threading.Event() for step in range(1, 10)}

    def read(self, step: int, *, masked: Collection[int]) -> Batch:
        self.asked.append((step, frozenset(masked)))
        self.seen[step].set()
        if step == self.fails_at:
            raise DataError(f"step {step} cannot be read")
        tokens = torch.full((1, 4), -1 if step in masked else step)
        return Batch([step], tokens, tokens)


def test_the_next_batch_is_read_before_it_is_asked_for_and_none_after_the_last() -> None:
    source = Source()
    batches = Prefetched(source, last_step=3)
    assert batches.read(1, masked=()).instances == [1]
    assert source.seen[2].wait(PATIENCE)
    assert [batches.read(step, masked=()).instances for step in (2, 3)] == [[2], [3]]
    assert [step for step, _ in source.asked] == [1, 2, 3]  # each once


def test_what_went_into_quarantine_meanwhile_is_masked() -> None:
    source = Source()
    batches = Prefetched(source, last_step=3)
    masked: set[int] = set()
    batches.read(1, masked=masked)
    assert source.seen[2].wait(PATIENCE)
    masked.add(2)  # the caller's set changes in place
    assert batches.read(2, masked=masked).tokens.tolist() == [[-1] * 4]
    assert batches.read(3, masked=masked).tokens.tolist() == [[3] * 4]
    assert source.asked == [(1, frozenset()), (2, frozenset()), (2, frozenset({2})), (3, frozenset({2}))]


def test_an_error_comes_up_at_its_own_step() -> None:
    source = Source(fails_at=2)
    batches = Prefetched(source, last_step=3)
    assert batches.read(1, masked=()).instances == [1]
    assert source.seen[2].wait(PATIENCE)
    with pytest.raises(DataError, match="step 2 cannot be read"):
        batches.read(2, masked=())


def test_another_step_than_the_next_may_be_asked_for() -> None:
    source = Source(fails_at=2)
    batches = Prefetched(source, last_step=9)
    batches.read(1, masked=())
    assert batches.read(7, masked=()).instances == [7]  # the error of step 2 concerns nobody
    assert batches.read(8, masked=()).instances == [8]
