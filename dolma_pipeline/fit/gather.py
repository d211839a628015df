"""The texts of a sample, in the order of their keys: a part to learn from, and one held out to measure on.

What belongs together (`Chunk.units`: near copies, or equal texts) is in one part. Texts go to files in scratch, by
stretches of keys, and each stretch is put in order in memory: 40 MB, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.fit.sample import Chunk, Sampled, sample_keys
from dolma_pipeline.fit.sets import DocumentSet
from dolma_pipeline.storage.scratch import Scratch
from dolma_pipeline.tokens.keys import document_key

STRETCH_BYTES = 40_000_000
MOST_STRETCHES = 512
"""Files that are open at once."""

SCHEMA = pa.schema(
    [
        pa.field("place", pa.int64()),
        pa.field("label", pa.int8()),
        pa.field("source", pa.string()),
        pa.field("held_out", pa.bool_()),
        pa.field("text", pa.string()),
    ]
)
"""place: of the document in the order of keys over all sets. label: which of the sets it is of, from 0."""


@dataclass(frozen=True)
class Gathered:
    """Texts in scratch.

    files: one a stretch of keys, in order.
    """

    files: Sequence[Path]

    def tables(self) -> Iterator[pa.Table]:
        """All of them, in the order of their keys: columns of `SCHEMA`."""
        for file in self.files:
            with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as reader:
                yield reader.read_all().sort_by("place")


def gather(
    sets: Sequence[tuple[Sequence[DocumentSet], Sampled]], scratch: Scratch, *, seed: int, held_out: float
) -> Gathered:
    """Get the texts of samples.

    Args:
        sets: of each label its sets of documents and what is taken of them; no text is in two samples.
        seed: as of the samples. held_out: share of the units that is held out, 0 to 1.

    Raises:
        DataError: files that were changed since they were sampled.
    """
    keys = np.concatenate([sampled.keys for _, sampled in sets])
    sizes = np.concatenate([sampled.sizes for _, sampled in sets])
    order = np.argsort(keys)
    keys, ends = keys[order], np.cumsum(sizes[order])
    total = int(ends[-1]) if len(ends) else 0
    step = max(STRETCH_BYTES, -(-total // MOST_STRETCHES))
    stretches = (ends - sizes[order]) // step
    files = [scratch.path(".arrow") for _ in range(total // step + 1)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(stack.enter_context(pa.OSFile(str(file), "wb")), SCHEMA))
            for file in files
        ]
        for label, (own, sampled) in enumerate(sets):
            chosen = _Chosen(sampled, seed)
            for one in own:
                for chunk, texts in one.texts(chosen.rows):
                    places = np.searchsorted(keys, sample_keys(chunk.hashes, seed=seed))
                    table = pa.table(
                        {
                            "place": places,
                            "label": np.full(len(places), label, np.int8),
                            "source": list(chunk.sources),
                            "held_out": is_held_out(chunk.units, seed=seed, share=held_out),
                            "text": texts,
                        },
                        schema=SCHEMA,
                    )
                    _write(table, stretches[places], writers)
            if chosen.num_left:
                names = ", ".join(one.name for one in own)
                raise DataError(f"{names}: {chosen.num_left:,} documents are not there any more. Start again.")
    return Gathered(files)


def is_held_out(units: Sequence[str], *, seed: int, share: float) -> NDArray[np.bool_]:
    """Which of these units are held out: those whose keys are in the lowest share of all."""
    most = np.uint64(min(int(share * (1 << 64)), (1 << 64) - 1))
    return document_key(units, seed=seed, purpose="fit held out") < most


class _Chosen:
    """Chooses the documents of a sample, each text once: the first that has the sample's source for it."""

    def __init__(self, sampled: Sampled, seed: int) -> None:
        self._sampled, self._seed = sampled, seed
        self._left = np.ones(len(sampled.keys), np.bool_)
        self._codes: Mapping[str, int] = {name: code for code, name in enumerate(sampled.names)}

    @property
    def num_left(self) -> int:
        """How many have not been met."""
        return int(self._left.sum())

    def rows(self, chunk: Chunk) -> NDArray[np.int64]:
        """The rows of a chunk that are wanted; they are not wanted again."""
        found = self._sampled
        keys = sample_keys(chunk.hashes, seed=self._seed)
        places = np.searchsorted(found.keys, keys)
        near = np.minimum(places, len(found.keys) - 1)
        rows = np.flatnonzero((places < len(found.keys)) & (found.keys[near] == keys) & (chunk.sizes > 0))
        chosen = []
        for row, place in zip(rows.tolist(), places[rows].tolist(), strict=True):
            if self._left[place] and self._codes.get(chunk.sources[row]) == found.sources[place]:
                self._left[place] = False
                chosen.append(row)
        return np.array(chosen, np.int64)


def _write(table: pa.Table, stretches: NDArray[np.int64], writers: Sequence[pa.ipc.RecordBatchStreamWriter]) -> None:
    for number in np.unique(stretches).tolist():
        writers[number].write_table(table.filter(pa.array(stretches == number)))
