"""A global shuffle through files: from documents in the order of their shards to parts in the order of their keys.

Two passes, neither of which holds more than one shard or one part. Pass A, for each shard: encode, make a
`run_table`, write it with `write_run`, cut by key into parts. Pass B, for each part: `read_run` it from every
run file (memory-mapped), `sort_runs`, `shards.write_part`. The keys are hashes, so the order is a shuffle, the
same for any number of shards' workers; `cut_points` knows the parts' bounds before a text is encoded.
Cost: 4 bytes a token written and read once; ~0.5 microseconds a document and a memory copy to gather.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.tokens.keys import document_key

NAME_COLUMNS = {
    "origin": pa.string(),
    "source": pa.string(),
    "id": pa.string(),
    "loc": pa.int64(),
    "epoch": pa.int32(),
}
"""Columns that every document of a run has: `source/path#row`, its source, the user's id, the 1-based line in its
file, and which copy it is, from 0. Beside them may stand `cluster` and kept attributes, of any type."""

ORDER = "order"
"""Purpose of the keys of the shuffle: other ones than those by which a mix draws documents, or what it draws from a
source that it cuts would stand at the front of the shards."""

_BATCH_TOKENS = 2_000_000


def run_table(documents: pa.Table, tokens: pa.ListArray, *, seed: int, dtype: np.dtype[Any]) -> pa.Table:
    """Documents with their ids and their key.

    Args:
        documents: `NAME_COLUMNS`, and what is to be kept beside the tokens; n rows. `epoch` may be absent (0).
        tokens: a list of ids for each row.
        seed: of the recipe.
        dtype: of the shards; ids are stored in it.

    Returns:
        `key` (uint64), the documents' columns, `tokens` (list of dtype).

    Raises:
        DataError: a column is missing, the lengths differ, or an id does not fit the dtype.
    """
    if "epoch" not in documents.column_names:
        documents = documents.append_column("epoch", pa.repeat(pa.scalar(0, pa.int32()), len(documents)))
    missing = [name for name in NAME_COLUMNS if name not in documents.column_names]
    if missing:
        raise DataError(f"documents without {', '.join(missing)}; there are: {', '.join(documents.column_names)}")
    if len(tokens) != len(documents):
        raise DataError(f"{len(documents)} documents, but ids of {len(tokens)}")
    for name, kind in NAME_COLUMNS.items():
        at = documents.column_names.index(name)
        documents = documents.set_column(at, name, documents.column(name).cast(kind))
    try:
        narrow = tokens.cast(pa.list_(pa.from_numpy_dtype(dtype)))
    except pa.ArrowInvalid as error:
        raise DataError(f"an id does not fit {dtype}: {error}") from error
    keys = _keys(documents.column("origin"), documents.column("epoch").to_numpy(), seed)
    return documents.add_column(0, "key", pa.array(keys)).append_column("tokens", narrow)


def _keys(origins: pa.ChunkedArray, epochs: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
    """Each row's key, by its epoch."""
    keys = np.empty(len(epochs), np.uint64)
    for epoch in np.unique(epochs).tolist():
        rows = np.flatnonzero(epochs == epoch)
        names = origins.take(pa.array(rows)).to_pylist()
        keys[rows] = document_key(names, seed=seed, epoch=epoch, purpose=ORDER)
    return keys


def cut_points(keys: NDArray[np.uint64], tokens: NDArray[np.int64], *, max_tokens: int) -> NDArray[np.uint64]:
    """Where to cut the keyed order into parts.

    Parts are filled in the order of the keys; each holds at most `max_tokens`, unless one document alone (or
    documents of one and the same key, which a part never divides) is longer.

    Args:
        keys: of all documents, in any order, uint64[n].
        tokens: ids of each, EOS included, int64[n]. Memory: 40 bytes a document while it runs.
        max_tokens: of a part.

    Returns:
        uint64[parts - 1], ascending: the first key of every part but the first.
    """
    if max_tokens < 1:
        raise UsageError(f"parts of at most {max_tokens} tokens: at least 1 is needed")
    order = np.argsort(keys)
    ascending = keys[order]
    first_of_key = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(keys)])
    unique = ascending[first_of_key]
    ends = np.cumsum(np.add.reduceat(tokens[order], first_of_key)) if len(keys) else np.zeros(0, np.int64)
    cuts: list[int] = []
    first = 0
    while first < len(unique):
        before = int(ends[first - 1]) if first else 0
        first = max(int(np.searchsorted(ends, before + max_tokens, side="right")), first + 1)
        cuts.append(first)
    return unique[cuts[:-1]]


def part_of(keys: NDArray[np.uint64], cuts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The part of each key: int64[n], 0 to `len(cuts)`."""
    return np.searchsorted(cuts, keys, side="right").astype(np.int64)


def write_run(path: str | Path, run: pa.Table, *, cuts: NDArray[np.uint64]) -> None:
    """Write a shard's run: one Arrow file with a record batch for each part, empty ones included.

    Args:
        path: a local file, its folder is made; it appears when it is whole.
        run: see `run_table`.
        cuts: see `cut_points`.
    """
    parts = part_of(run.column("key").to_numpy(), cuts)
    order = np.argsort(parts, kind="stable")
    bounds = np.searchsorted(parts[order], np.arange(len(cuts) + 2)).tolist()
    documents = _Documents([run])
    with paths.committing(Path(path)) as file, pa.ipc.new_file(file, run.schema) as writer:
        for start, end in pairwise(bounds):
            writer.write_batch(documents.batch(order[start:end]))


class MappedRuns:
    """One part's documents of several run files, memory-mapped: pages are read when touched, nothing is copied.

    Args:
        paths: run files. part: which.

    Attributes:
        tables: of each file, its documents of the part.

    Raises:
        DataError: a file has no such part: it was cut for other parts.
    """

    def __init__(self, paths: Sequence[str | Path], *, part: int) -> None:
        self._maps: list[mmap.mmap] = []
        self.tables: list[pa.Table] = []
        for path in paths:
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(mapped))
            if part >= reader.num_record_batches:
                raise DataError(f"{path}: holds {reader.num_record_batches} parts, but part {part} was asked for")
            self._maps.append(mapped)
            self.tables.append(pa.Table.from_batches([reader.get_batch(part)]))

    def release(self) -> None:
        """Give back the pages that were touched; they are read again if they are touched again."""
        for mapped in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):  # not on every system; then the system takes them when it needs them
                mapped.madvise(mmap.MADV_DONTNEED)


def read_run(path: str | Path, *, part: int) -> pa.Table:
    """One part's documents of a run file; see `MappedRuns`."""
    return MappedRuns([path], part=part).tables[0]


def sort_runs(runs: Sequence[pa.Table], *, batch_tokens: int = _BATCH_TOKENS) -> Iterator[pa.Table]:
    """The documents of these runs in the order of (key, origin, epoch), as tables of some size.

    Args:
        runs: tables of one schema; what they hold may be memory-mapped.
        batch_tokens: a table holds at most so many tokens, or one document.

    Yields:
        Tables of the runs' schema; one empty table where there are no documents, so that the schema is known.

    Raises:
        DataError: the runs' schemas differ.
    """
    if not runs:
        return
    for run in runs:
        if run.schema != runs[0].schema:
            raise DataError(f"runs of different columns: {_columns(runs[0])}; and {_columns(run)}")
    documents = _Documents(runs)
    by = [(name, "ascending") for name in ("key", "origin", "epoch")]
    order = pc.sort_indices(documents.names, sort_keys=by).to_numpy().astype(np.int64)
    for first, last in _batches(documents.lengths[order], batch_tokens):
        yield pa.Table.from_batches([documents.batch(order[first:last])])


def _columns(run: pa.Table) -> str:
    """Names and types, for an error."""
    return ", ".join(f"{field.name} {field.type}" for field in run.schema)


class _Documents:
    """The documents of some runs, numbered through, from which any can be gathered.

    Arrow's own `take` would join all lists first, once for each call; a copy of each document's ids from where
    they are (perhaps a mapped file) is ten times faster.

    names: all columns but `tokens`. lengths: ids of each document, int64[n].
    """

    def __init__(self, runs: Sequence[pa.Table]) -> None:
        self.names = pa.concat_tables([run.drop_columns(["tokens"]) for run in runs]).combine_chunks()
        self._schema = runs[0].schema
        lists = [chunk for run in runs for chunk in run.column("tokens").chunks]
        self._values = [chunk.values.to_numpy() for chunk in lists]
        offsets = [chunk.offsets.to_numpy().astype(np.int64) for chunk in lists]
        nothing = np.zeros(0, np.int64)
        self._chunks = np.repeat(np.arange(len(lists)), [len(chunk) for chunk in lists])
        self._starts = np.concatenate([nothing, *(bounds[:-1] for bounds in offsets)])
        self.lengths = np.concatenate([nothing, *(np.diff(bounds) for bounds in offsets)])

    def batch(self, rows: NDArray[np.int64]) -> pa.RecordBatch:
        """These documents, in this order."""
        kind = self._schema.field("tokens").type
        bounds = np.concatenate([[0], np.cumsum(self.lengths[rows])])
        ids = np.empty(int(bounds[-1]), np.dtype(str(kind.value_type)))
        places = zip(self._chunks[rows].tolist(), self._starts[rows].tolist(), pairwise(bounds.tolist()), strict=True)
        for chunk, start, (to, end) in places:
            ids[to:end] = self._values[chunk][start : start + end - to]
        tokens = pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(ids), type=kind)
        names = self.names.take(pa.array(rows))
        found = [tokens if n == "tokens" else names.column(n).combine_chunks() for n in self._schema.names]
        return pa.RecordBatch.from_arrays(found, schema=self._schema)


def _batches(lengths: NDArray[np.int64], batch_tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of documents with at most so many tokens, or one document; one empty range if there are none."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + batch_tokens, side="right")), first + 1)
        yield first, last
        first = last
    if len(lengths) == 0:
        yield 0, 0
