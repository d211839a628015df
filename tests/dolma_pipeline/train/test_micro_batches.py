from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.micro_batches import micro_batch_instances


def test_auto_goes_by_logits_and_a_gpu_takes_four_times_as_many(
    settings: Settings, changed: Callable[..., Settings]
) -> None:
    """At most 64 sequences on a CPU and 256 on a GPU, in parts that are as even as can be."""
    many = changed(settings, batch_tokens=1000 * 32, max_tokens=1000 * 32)
    wide = dataclasses.replace(many, model=dataclasses.replace(many.model, vocab_size=2**17))  # 2**22 logits each
    assert micro_batch_instances(wide, processes=1, device="cpu") == 63  # 16 of 1,000
    assert micro_batch_instances(wide, processes=1, device="cuda") == 250
    assert micro_batch_instances(wide, processes=25, device="cpu") == 40
    huge = dataclasses.replace(settings, model=dataclasses.replace(settings.model, vocab_size=2**30))
    assert micro_batch_instances(huge, processes=1, device="cpu") == 1


def test_what_is_given_is_exact(settings: Settings, changed: Callable[..., Settings]) -> None:
    four = changed(settings, micro_batch_tokens=4 * 32)
    assert micro_batch_instances(four, processes=1, device="cpu") == 4
    assert micro_batch_instances(four, processes=2, device="cuda") == 4


@pytest.mark.parametrize(("tokens", "processes", "share"), [(100, 1, 8), (96, 1, 8), (512, 1, 8), (256, 2, 4)])
def test_what_does_not_divide_is_an_error(
    settings: Settings, changed: Callable[..., Settings], tokens: int, processes: int, share: int
) -> None:
    odd = changed(settings, micro_batch_tokens=tokens)
    words = (
        f"train.micro_batch_tokens is {tokens}, but each of {processes} processes has {share} sequences of 32 tokens "
        f"in a batch, .* Give 32 x a divisor of {share}, or auto"
    )
    with pytest.raises(UsageError, match=words):
        micro_batch_instances(odd, processes=processes, device="cpu")
