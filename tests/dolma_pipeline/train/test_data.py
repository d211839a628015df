from __future__ import annotations

import numpy as np
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train.data import Batch, read_batch
from dolma_pipeline.train.model import IGNORED

DATASET = np.arange(10 * 6, dtype=np.uint8).reshape(10, 6) + 1
ORDER = Order(num_instances=10, batch_instances=4, seed=1)


def batch(
    step: int = 1, rank: int = 0, world_size: int = 1, masked: tuple[int, ...] = (), vocab_size: int = 61
) -> Batch:
    return read_batch(
        step,
        dataset=DATASET,
        order=ORDER,
        rank=rank,
        world_size=world_size,
        masked=masked,
        eos_id=0,
        vocab_size=vocab_size,
    )


def test_labels_are_the_next_ids() -> None:
    found = batch()
    for row, instance in enumerate(found.instances):
        assert found.tokens[row].tolist() == DATASET[instance].tolist()
        assert found.labels[row].tolist() == [*DATASET[instance][1:].tolist(), IGNORED]


def test_processes_share_a_step() -> None:
    parts = [batch(step=2, rank=rank, world_size=2).instances for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(batch(step=2).instances)
    assert len(parts[0]) == len(parts[1]) == 2


def test_a_masked_instance_keeps_its_place() -> None:
    plain = batch()
    guilty = plain.instances[2]
    found = batch(masked=(guilty,))
    assert found.instances == plain.instances
    assert found.tokens[2].tolist() == [0] * 6
    assert found.labels[2].tolist() == [IGNORED] * 6
    assert found.tokens[[0, 1, 3]].equal(plain.tokens[[0, 1, 3]])


def test_an_id_beyond_the_vocabulary_is_an_error() -> None:
    with pytest.raises(DataError, match=r"instance \d: token \d is \d+, but the vocabulary has 5 ids"):
        batch(vocab_size=5)
