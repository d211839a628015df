"""Bits per byte of documents: how many bits the model needs for a byte of text, whatever the tokenizer.

Sum of nats over all tokens of a source, over ln 2, over the UTF-8 bytes of the text that those tokens stand for (not
a mean of documents' means: a long document weighs as much as its bytes). Each document starts after EOS, as in
training, so its first token is scored too; the EOS at its end stands for no text and is not. Documents longer than the
model's window are cut into windows that follow each other, each token a target once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.score import cut, score
from dolma_pipeline.evals.scored import Scored, ScoredItem, estimates
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.evals.trees import Window
from dolma_pipeline.tokens.dataset import TokenDataset
from dolma_pipeline.tokens.shards import PartFile, dataset_digest

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


def bits_per_byte(subject: Subject, name: str, documents: Sequence[NDArray[Any]], *, ids: Iterable[str]) -> Scored:
    """The numbers of one source or domain.

    Args:
        name: for errors. documents: token ids of each, without EOS. ids: a name for each document, for its row.

    Returns:
        num_documents, num_tokens (targets), num_bytes, nats (summed), nats_per_token, perplexity (its exponential),
        bits_per_byte and its standard error (of the ratio estimator, over documents).

    Raises:
        DataError: there is no text. RunError: the model's numbers are not finite.
    """
    sizes = [len(subject.decode(document).encode("utf-8")) for document in documents]
    num_tokens = sum(map(len, documents))
    if not sum(sizes):
        raise DataError(f"{name}: {len(documents)} documents hold no text, so nothing can be measured on them.")
    windows, owners = list[Window](), list[int]()
    for number, document in enumerate(documents):
        found = list(cut(np.concatenate(([subject.eos_id], document)), length=subject.length))
        windows += found
        owners += [number] * len(found)
    each = score(subject.model, windows)
    subject.require_finite(each, name=name)
    nats = math.fsum(each)
    by_document: list[list[float]] = [[] for _ in documents]
    for owner, value in zip(owners, each, strict=True):
        by_document[owner].append(value)
    items = [
        ScoredItem(
            id_, {"bits_per_byte": (math.fsum(values) / math.log(2), float(size))}, {"num_tokens": len(document)}
        )
        for id_, values, size, document in zip(ids, by_document, sizes, documents, strict=True)
    ]
    return Scored(
        {
            "num_documents": len(documents),
            "num_tokens": num_tokens,
            "num_bytes": sum(sizes),
            "nats": nats,
            "nats_per_token": nats / num_tokens,
            "perplexity": _exponential(nats / num_tokens),
            "bits_per_byte": nats / math.log(2) / sum(sizes),
            "bits_per_byte_stderr": estimates(items)["bits_per_byte_stderr"],
        },
        items,
    )


def _exponential(nats: float) -> float | None:
    """None where it is too large for a number: above 709 nats a token."""
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None
