"""Golden batches of both orders, and what must hold for any number of ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.order import Order, OrderKind, batch_instances, step_of

ORDER = Order(num_instances=300, batch_instances=8, seed=7, kind="olmo-core")


def whole(step: int, order: Order) -> list[int]:
    return batch_instances(step, rank=0, world_size=1, order=order).tolist()


def test_golden_batch_of_olmo_core():
    assert whole(1, ORDER) == [270, 254, 175, 205, 89, 96, 281, 77]


def hashed(seed: int) -> Order:
    return Order(num_instances=300, batch_instances=8, seed=seed)


def test_golden_batches_of_the_hashed_order():
    """A run that goes on must find the order that it began with."""
    assert hashed(7).kind == "hashed"
    assert whole(1, hashed(7)) == [278, 257, 132, 19, 69, 260, 222, 162]
    assert whole(38, hashed(7)) == [30, 184, 105, 172, 117, 37, 250, 55]


def test_no_epoch_of_a_seed_is_another_epoch_of_another_seed():
    olmo_core = [replace(hashed(seed), kind="olmo-core") for seed in (1, 2)]
    assert whole(38, olmo_core[0]) == whole(1, olmo_core[1])
    epochs = {tuple(whole(1 + 37 * epoch, hashed(seed))) for seed in range(20) for epoch in range(20)}
    assert len(epochs) == 400


def test_plain_numpy_twin():
    """The three lines of OLMo-core's loader, for two epochs and four ranks."""
    for epoch in (1, 2):
        permutation = np.arange(300, dtype=np.uint32)
        np.random.Generator(np.random.PCG64(7 + epoch)).shuffle(permutation)
        batches = permutation[: 37 * 8].reshape(37, 8)
        for step in range(1, 38):
            for rank in range(4):
                got = batch_instances((epoch - 1) * 37 + step, rank=rank, world_size=4, order=ORDER)
                assert got.dtype == np.uint32
                assert got.tolist() == batches[step - 1, rank::4].tolist()


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 400),
    st.integers(1, 5),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 2**40),
    st.integers(1, 50),
    st.sampled_from(["hashed", "olmo-core"]),
)
def test_ranks_share_a_batch_and_epochs_see_each_instance_once(
    num: int, per_rank: int, world: int, seed: int, step: int, kind: OrderKind
):
    size = per_rank * world
    if num < size:
        return
    order = Order(num_instances=num, batch_instances=size, seed=seed, kind=kind)
    ranks = [batch_instances(step, rank=rank, world_size=world, order=order) for rank in range(world)]
    assert np.stack(ranks, axis=1).ravel().tolist() == whole(step, order)
    first = (order.epoch_of(step) - 1) * order.steps_per_epoch
    epoch = [i for s in range(first + 1, first + order.steps_per_epoch + 1) for i in whole(s, order)]
    assert len(set(epoch)) == len(epoch) == order.steps_per_epoch * size


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 3), st.data())
def test_step_of_is_the_inverse(num: int, size: int, epoch: int, data: st.DataObject):
    if num < size:
        return
    order = Order(num_instances=num, batch_instances=size, seed=3)
    instance = data.draw(st.integers(0, num - 1))
    step = step_of(instance, order=order, epoch=epoch)
    seen = [
        s
        for s in range((epoch - 1) * order.steps_per_epoch + 1, epoch * order.steps_per_epoch + 1)
        if instance in whole(s, order)
    ]
    assert seen == ([] if step is None else [step])


def test_a_batch_cannot_be_changed_by_mistake():
    with pytest.raises(ValueError, match="read-only"):
        batch_instances(1, rank=0, world_size=1, order=ORDER)[0] = 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: Order(num_instances=7, batch_instances=8, seed=1),
            "the dataset has 7 instances, fewer than the 8 of one batch; make more tokens",
        ),
        (lambda: Order(num_instances=7, batch_instances=0, seed=1), "a batch of 0 instances"),
        (
            lambda: Order(num_instances=2**32, batch_instances=8, seed=1),
            "4294967296 instances; the order holds at most 4294967295",
        ),
        (lambda: whole(0, ORDER), "step 0: steps are counted from 1"),
        (lambda: batch_instances(1, rank=2, world_size=2, order=ORDER), "rank 2 of 2: ranks are 0 to 1"),
        (
            lambda: batch_instances(1, rank=0, world_size=3, order=ORDER),
            "a batch of 8 instances does not divide by 3 ranks",
        ),
        (lambda: step_of(300, order=ORDER), "instance 300: the dataset has 300, counted from 0"),
        (lambda: step_of(3, order=ORDER, epoch=0), "epoch 0: epochs are counted from 1"),
    ],
)
def test_wrong_use(call, words: str):  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=words):
        call()
