"""Kept ids: the tokens of documents that pass, encoded once, in a cache that may be removed.

`cache/ids/<digest of reading, edits and tokenizer>/<shard>/<content>/<rows>-<seed>.arrow`: documents in the order of
the shuffle's key within blocks of some 64 MB of text, so that a part is one range of each block. Rows that pass later
are another file beside the first; another seed sorts anew. A file is named after its rows, so that copies of a task
that saw different files, or have other rules, never write one name with two contents. `<rows>-<seed>.json`, written
last, says that a file is whole. Mixes that edit alike share them; those that are made in one reading each write a file
of what passes their rules, so a document may be in several.
Cost: 0.3 ms a MB of text to write, nothing to map; about 0.62 MB of uint16 ids a MB of text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import canonical, digest
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.tokenizer import run_tokenizer
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.mapped import Mapped
from dolma_pipeline.tokens.cuts import ORDER
from dolma_pipeline.tokens.keys import document_key

BLOCK_BYTES = 64_000_000
"""Text whose documents are sorted together."""


def kept_schema(dtype: np.dtype[Any]) -> pa.Schema:
    """key: of the shuffle, first epoch. row, id, loc: of the document. edited: whether edits changed its text.
    bytes: of the edited text. tokens: its ids, without EOS."""
    return pa.schema(
        [
            pa.field("key", pa.uint64()),
            pa.field("row", pa.int64()),
            pa.field("id", pa.string()),
            pa.field("loc", pa.int64()),
            pa.field("edited", pa.bool_()),
            pa.field("bytes", pa.int64()),
            pa.field("tokens", pa.list_(pa.from_numpy_dtype(dtype))),
        ]
    )


def order_keys(shard: str, rows: NDArray[np.int64], seed: int, epoch: int = 0) -> NDArray[np.uint64]:
    """The shuffle's keys of some documents of a shard."""
    return document_key((f"{shard}#{row}" for row in rows.tolist()), seed=seed, epoch=epoch, purpose=ORDER)


class KeptWriter:
    """One file of kept ids, block by block.

    Args:
        file: where to. shard: its name. seed: of the recipe. dtype: of the ids.
    """

    def __init__(self, file: Any, shard: str, *, seed: int, dtype: np.dtype[Any]) -> None:
        self._shard, self._seed = shard, seed
        self._schema = kept_schema(dtype)
        self._writer = pa.ipc.new_file(file, self._schema)
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self.num_rows = 0

    def write(
        self,
        rows: NDArray[np.int64],
        ids: pa.Array,
        locs: NDArray[np.int64],
        edited: pa.Array,
        texts: pa.Array,
        tokens: pa.ListArray,
    ) -> None:
        """Append documents; arrays of n."""
        import pyarrow.compute as pc

        sizes = pc.binary_length(texts).cast(pa.int64())
        keys = pa.array(order_keys(self._shard, rows, self._seed))
        columns = [
            keys,
            pa.array(rows),
            ids,
            pa.array(locs),
            edited,
            sizes,
            tokens.cast(self._schema.field("tokens").type),
        ]
        self._held.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._held_bytes += int(pc.sum(sizes).as_py() or 0)
        self.num_rows += len(rows)
        if self._held_bytes >= BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_batch(sorted_block(pa.Table.from_batches(self._held)))
        self._held, self._held_bytes = [], 0

    def close(self) -> None:
        """Write what is held and the end; the file itself stays open."""
        self._flush()
        self._writer.close()


def sorted_block(table: pa.Table) -> pa.RecordBatch:
    """Documents in the order of their keys, as one batch."""
    keys = table.column("key").to_numpy()
    order = np.lexsort((table.column("row").to_numpy(), keys))
    lists = Lists(table.column("tokens").chunks)
    names = table.drop_columns(["tokens"]).take(pa.array(order)).combine_chunks()
    columns = [
        lists.gather(order, table.schema.field("tokens").type) if name == "tokens" else _one(names.column(name))
        for name in table.schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class Lists:
    """Lists of ids in some arrays, numbered through, from which any can be gathered.

    Arrow's own `take` would join all lists first; a copy of each document's ids from where they are (perhaps a mapped
    file) is ten times faster.
    """

    def __init__(self, chunks: Sequence[pa.ListArray]) -> None:
        self._values = [chunk.values.to_numpy() for chunk in chunks]
        offsets = [chunk.offsets.to_numpy().astype(np.int64) for chunk in chunks]
        nothing = np.zeros(0, np.int64)
        self._chunks = np.repeat(np.arange(len(chunks)), [len(chunk) for chunk in chunks])
        self._starts = np.concatenate([nothing, *(bounds[:-1] for bounds in offsets)])
        self.lengths = np.concatenate([nothing, *(np.diff(bounds) for bounds in offsets)])

    def gather(self, rows: NDArray[np.int64], kind: pa.DataType) -> pa.ListArray:
        """The lists of these numbers, in this order."""
        bounds = np.concatenate([[0], np.cumsum(self.lengths[rows])])
        ids = np.empty(int(bounds[-1]), np.dtype(str(kind.value_type)))
        places = zip(self._chunks[rows].tolist(), self._starts[rows].tolist(), pairwise(bounds.tolist()), strict=True)
        for chunk, start, (to, end) in places:
            ids[to:end] = self._values[chunk][start : start + end - to]
        return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(ids), type=kind)


def ids_base(process: Process, ids: str) -> str:
    """The folder of all kept ids of a tokenizer.

    Args:
        ids: digest of the settings that they depend on. A tokenizer that is trained has the same settings and other
            entries when documents are added, so it counts by its content.
    """
    return layout.cache("ids", digest([ids, run_tokenizer(process).sha256]))


def place_of(process: Process, ids: str, shard: ShardAt) -> str:
    """The folder of a shard's kept ids: those of another tokenizer, or of another content of its file, lie elsewhere.

    Args:
        ids: see `ids_base`.
    """
    return f"{ids_base(process, ids)}/{content_of(shard)}"


def content_of(shard: ShardAt) -> str:
    """A shard and the content of its file, as a relative path."""
    return f"{shard.name}/{shard.sha256[:12]}"


def stem_of(place: str, rows: NDArray[np.int64], seed: int) -> str:
    """The name of a file of kept ids, without ending; rows: of all its documents, ascending."""
    return f"{place}/{hashlib.sha256(rows.astype('<i8').tobytes()).hexdigest()[:12]}-{seed}"


def kept_files(folder: RunFolder, place: str, seed: int) -> list[str]:
    """The whole files of a shard's kept ids for a seed: names without ending. A document may be in several of them.

    Args:
        place: see `place_of`.
    """
    return [stem for stem in _stems(folder, place) if _seed_of(stem) == seed]


def seeds_of(folder: RunFolder, place: str) -> list[int]:
    """The seeds for which a shard has kept ids, ascending."""
    return sorted({_seed_of(stem) for stem in _stems(folder, place)})


def _stems(folder: RunFolder, place: str) -> list[str]:
    names = [entry.name for entry in folder.list(place) if entry.name.endswith(".json")]
    return [name.removesuffix(".json") for name in names if name.rpartition("/")[0] == place]


def _seed_of(stem: str) -> int:
    return int(stem.rpartition("/")[2].partition("-")[2])


def mark_whole(folder: RunFolder, stem: str, *, rows: int, texts: int) -> None:
    """Say that a file of kept ids is whole. texts: how many edited texts lie beside it."""
    folder.write(f"{stem}.json", canonical({"rows": rows, "texts": texts}))


def whole(folder: RunFolder, stem: str) -> dict[str, int]:
    """What `mark_whole` noted."""
    found: dict[str, int] = orjson.loads(folder.read(f"{stem}.json"))
    return found


class KeptIds:
    """The kept ids of one shard, memory-mapped; a context manager.

    Attributes:
        rows: of all documents in the files, in their order. edited, sizes: likewise; sizes count tokens without EOS.
    """

    def __init__(self, folder: RunFolder, stems: Sequence[str]) -> None:
        self._stack = ExitStack()
        self._maps: list[Mapped] = []
        self.batches: list[pa.RecordBatch] = []
        self.stems = list(stems)
        for stem in stems:
            path = self._stack.enter_context(folder.local(f"{stem}.arrow"))
            self._maps.append(mapped := Mapped(path))
            reader = pa.ipc.open_file(mapped.buffer)
            self.batches += [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._keys = [batch.column("key").to_numpy() for batch in self.batches]
        self._starts = np.concatenate([[0], np.cumsum([len(keys) for keys in self._keys])]).astype(np.int64)

    def __enter__(self) -> KeptIds:
        return self

    def __exit__(self, *_: object) -> None:
        self.batches, self._keys, self._maps = [], [], []
        self._stack.close()

    def column(self, name: str) -> NDArray[Any]:
        """A plain column of all documents, in the files' order."""
        parts = [batch.column(name).to_numpy(zero_copy_only=False) for batch in self.batches]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def num_tokens(self) -> NDArray[np.int64]:
        """Ids of each document, without EOS."""
        parts = [np.diff(batch.column("tokens").offsets.to_numpy()).astype(np.int64) for batch in self.batches]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def places(self, shard: str, rows: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where these documents are, numbered through all batches: int64[n].

        Args:
            keys: of the shuffle's first epoch, as the files are sorted.

        Raises:
            DataError: one of them is not there.
        """
        found = np.full(len(rows), -1, np.int64)
        for keys_here, batch, start in zip(self._keys, self.batches, self._starts.tolist(), strict=False):
            left = np.flatnonzero(found < 0)
            if len(left) == 0:
                break
            at = np.searchsorted(keys_here, keys[left])
            own_rows = batch.column("row").to_numpy()
            hit = at < len(keys_here)
            hit[hit] = keys_here[at[hit]] == keys[left[hit]]
            same = hit.copy()
            same[hit] = own_rows[at[hit]] == rows[left[hit]]
            found[left[same]] = at[same] + start
            for place in np.flatnonzero(hit & ~same).tolist():  # two documents of one key
                wanted, where = rows[left[place]], int(at[place])
                while where < len(keys_here) and keys_here[where] == keys[left[place]]:
                    if own_rows[where] == wanted:
                        found[left[place]] = where + start
                        break
                    where += 1
        if (found < 0).any():
            row = int(rows[np.flatnonzero(found < 0)[0]])
            raise DataError(
                f"{shard}#{row}: its tokens are not among the kept ids. Remove the run's cache/ids and run again."
            )
        return found

    def table(self) -> pa.Table:
        """All of it, mapped."""
        return pa.Table.from_batches(self.batches)

    def release(self) -> None:
        """Give back the pages that were touched; they are read again if they are touched again."""
        for mapped in self._maps:
            mapped.release()


def sort_anew(folder: RunFolder, stem: str, shard: str, *, seed: int) -> None:
    """A file of kept ids of another seed, written once more in the order of this one."""
    place, _, name = stem.rpartition("/")
    name = f"{place}/{name.partition('-')[0]}-{seed}"
    with KeptIds(folder, [stem]) as kept, folder.committing(f"{name}.arrow") as file:
        writer = None
        for batch in kept.batches:
            rows = batch.column("row").to_numpy()
            keys = pa.array(order_keys(shard, rows, seed))
            block = sorted_block(pa.Table.from_batches([batch.set_column(0, batch.schema.field("key"), keys)]))
            writer = writer or pa.ipc.new_file(file, block.schema)
            writer.write_batch(block)
        if writer is None:
            raise DataError(f"{folder.url}/{stem}.arrow: no documents in it. Remove the run's cache/ids.")
        writer.close()
        about = whole(folder, stem)
    mark_whole(folder, name, rows=about["rows"], texts=0)


def not_kept(folder: RunFolder, place: str, shard: str, rows: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Those of some rows that have no kept ids of any seed; files of another seed that have some are sorted anew first.

    Args:
        place: see `place_of`.
    """
    left = rows
    own = kept_files(folder, place, seed)
    others = [stem for other in seeds_of(folder, place) if other != seed for stem in kept_files(folder, place, other)]
    for stem in [*own, *others]:
        if len(left) == 0:
            break
        with KeptIds(folder, [stem]) as found:
            there = np.isin(left, found.column("row"))
        if stem not in own and there.any():
            sort_anew(folder, stem, shard, seed=seed)
        left = left[~there]
    return left
