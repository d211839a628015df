"""How many sequences a process computes at once. Does not load torch.

A process's part of a batch is computed in micro-batches, whose gradients are summed before the optimizer runs. Their
size decides how much memory activations and logits take, and of the result only the rounding of sums.
"""

from __future__ import annotations

from typing import Literal

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.files import Settings, instance_tokens

LOGITS_AT_ONCE = {"cpu": 2**28, "cuda": 2**30}
"""`auto`: so many sequences as make at most this many logits, or one: 1 GB as float32 on a CPU, 4 GB on a GPU, whose
kernels are idle in smaller parts. (150m in bf16 on an H200: 62,000 tokens a second with 2^28, 228,000 with 2^30; on an
H100 188,000.)"""


def micro_batch_instances(settings: Settings, *, processes: int, device: Literal["cpu", "cuda"] | str) -> int:
    """Sequences in a micro-batch. Those of `auto` are as even as they can be; the last may have fewer.

    Args:
        processes: that share a batch. device: its type.

    Raises:
        UsageError: `train.micro_batch_tokens` does not cut a process's part of a batch into whole micro-batches.
    """
    length, tokens = instance_tokens(settings.train), settings.train.micro_batch_tokens
    share = settings.batch_instances // processes
    if tokens == "auto":
        most = max(1, LOGITS_AT_ONCE[device] // (length * settings.model.vocab_size))
        return max(1, -(-share // -(-share // most)))
    if tokens % length or share % (tokens // length):
        raise UsageError(
            f"train.micro_batch_tokens is {tokens}, but each of {processes} processes has {share} sequences of "
            f"{length} tokens in a batch, which cannot be cut into whole micro-batches of it. Give {length} x a "
            f"divisor of {share}, or auto."
        )
    return tokens // length
