"""Bits per byte of held-out documents: how many bits the model needs for a byte of text, whatever the tokenizer.

Sum of nats over all tokens of a source, over ln 2, over the UTF-8 bytes of the text that those tokens stand for (not
a mean of documents' means: a long document weighs as much as its bytes). Each document starts after EOS, as in
training, so its first token is scored too; the EOS at its end stands for no text and is not. Documents longer than the
model's window are cut into windows that follow each other, each token a target once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.score import cut, score
from dolma_pipeline.tokens.dataset import TokenDataset
from dolma_pipeline.tokens.shards import PartFile, dataset_digest
from dolma_pipeline.train.language_model import LanguageModel

Ids = NDArray[np.unsignedinteger[Any]]


def read_documents(folder: Path, *, eos_id: int, vocab_size: int) -> Iterator[Ids]:
    """Documents of a folder of shards, without the EOS that ends each, in the order of the files.

    Raises:
        DataError: no shards, a file that does not end with EOS, or an id that the model has no row for.
    """
    dataset = TokenDataset(folder, sequence_length=1)
    for part in dataset.parts:
        ids = np.fromfile(part, dataset.dtype)
        ends = np.flatnonzero(ids == eos_id)
        if len(ids) and (not len(ends) or ends[-1] != len(ids) - 1):
            raise DataError(f"{part}: does not end with id {eos_id} (EOS); it was made with another tokenizer or cut.")
        if len(ids) and ids.max() >= vocab_size:
            raise DataError(f"{part}: has id {ids.max()}, but the model's vocabulary has {vocab_size} ids.")
        start = 0
        for end in ends.tolist():
            yield ids[start:end]
            start = end + 1


def folder_digest(folder: Path) -> str:
    """`sha256:…` over names and contents of the shards of a folder."""
    return dataset_digest(map(PartFile.of, TokenDataset(folder, sequence_length=1).parts))


def bits_per_byte(
    model: LanguageModel, documents: Sequence[Ids], *, eos_id: int, decode: Callable[[Ids], str]
) -> dict[str, int | float]:
    """The numbers of one source.

    Args:
        documents: ids of each, without EOS.
        decode: ids -> text.

    Returns:
        num_documents, num_tokens (targets), num_bytes, nats (summed), nats_per_token, bits_per_byte.

    Raises:
        DataError: there is no text.
    """
    num_bytes = sum(len(decode(ids).encode("utf-8")) for ids in documents)
    num_tokens = sum(map(len, documents))
    if not num_bytes:
        raise DataError(f"{len(documents)} held-out documents hold no text, so nothing can be measured on them.")
    length = model.config.sequence_length
    starts = [np.concatenate(([eos_id], ids)) for ids in documents]
    nats = math.fsum(score(model, [window for ids in starts for window in cut(ids, length=length)]))
    return {
        "num_documents": len(documents),
        "num_tokens": num_tokens,
        "num_bytes": num_bytes,
        "nats": nats,
        "nats_per_token": nats / num_tokens,
        "bits_per_byte": nats / math.log(2) / num_bytes,
    }
