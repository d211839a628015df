"""The parts: each document's ids copied once from the mapped kept ids, in the order of the shuffle.

A task a part; memory of a table of two million tokens, and the pages that it touches, which are given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.manifests import close, output_record, total_counts
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, indexed
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.kept import KeptIds, Lists
from dolma_pipeline.stages.tokenizer import run_tokenizer
from dolma_pipeline.stages.tokens.cut import Cut
from dolma_pipeline.stages.tokens.writers import PartIds, writer_of
from dolma_pipeline.tokens.shards import PartFile, dataset_digest
from dolma_pipeline.tokens.unknown import unknown_counts, unknown_found

BATCH_TOKENS = 2_000_000


@dataclass(frozen=True)
class Parts(Phase):
    """Writes the parts; closes their artifact.

    Args:
        ids: digest of the kept ids. cut: the phase that made the lists. format: of `writers`.
        encoded: the mark that says that kept ids are there.
    """

    ids: str = ""
    cut: Cut | None = None
    format: str = "olmo"
    encoded: str = "encode"

    @property
    def tokens(self) -> str:
        """The stage that they are of."""
        return self.artifacts[0].name

    @property
    def name(self) -> str:
        """`<tokens>/parts`."""
        return f"{self.tokens}/parts"

    @property
    def needs(self) -> frozenset[str]:
        """The lists, the kept ids, and kept attributes."""
        return frozenset({f"{self.tokens}/cut", self.encoded, *(need.name for need in self.artifacts[0].needs)})

    @property
    def makes(self) -> frozenset[str]:
        """Its artifact."""
        return frozenset({self.tokens})

    def tasks(self, run: Run) -> Iterator[Task]:
        """The parts; the payload is the name of a part's list."""
        assert self.cut is not None
        (record,) = read_records(run, self.cut, self.cut.tasks(run))
        for split, files in record["more"]["parts"].items():
            for number, name in enumerate(files):
                yield Task(f"{split}/part-{number:05d}", 1, name)

    def work(self, process: Process, task: Task) -> Work:
        """Write one part."""
        run, config = process.run, process.run.recipe.token_sections()[self.tokens]
        info, writer = run_tokenizer(process), writer_of(self.format)
        listed = get_table(run.folder, task.payload)
        stem = f"{self.tokens}/{task.key}"
        with ExitStack() as stack:
            files = [  # committed in the other order: that of the ids last
                stack.enter_context(run.folder.committing(f"{stem}{ending}")) for ending in writer.endings
            ]
            eos, special = info.special_id(config.eos), sorted(info.special_ids.values())
            batches = _batches(process, self.ids, listed, config.keep_attributes)
            part = writer.write(files, batches, PartIds(info.dtype, eos, special, info.unknown.id))
        outputs = [
            output_record(self.artifacts[0], f"{stem}{ending}", file, rows=part.num_documents)
            for ending, file in sorted(zip(writer.endings, files, strict=True), key=itemgetter(0))
        ]
        record: dict[str, Any] = {
            "shard": task.key,
            "inputs": [],
            "outputs": outputs,
            "counts": {
                "documents": part.num_documents,
                "tokens": part.num_tokens,
                "empty": part.num_empty,
                "tokens_by_source": dict(part.tokens_by_source),
                "documents_by_source": dict(part.documents_by_source),
                **unknown_counts(info, part.unk_by_source),
            },
        }
        return Work({self.tokens: [record]}, documents=part.num_documents)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest, with what a trainer must know."""
        process = Process.of(run)
        info = run_tokenizer(process)
        made = [one for record in records for one in record["records"][self.tokens]]
        about = {
            "tokenizer": "sha256:" + info.sha256,
            "vocab_size": info.num_ids,
            "dtype": info.dtype.name,
            "eos": info.special_id(run.recipe.token_sections()[self.tokens].eos),
            "dataset": dataset_digest(train_files(made), writer_of(self.format).endings[0]),
            "warnings": unknown_found(info, total_counts(made)),
        }
        close(run.folder, self.artifacts[0], made, shards_digest=run.shards_digest, extra=about)


def train_files(records: Sequence[Any]) -> Iterator[PartFile]:
    """The files of the split `train`."""
    for output in (output for record in records for output in record["outputs"]):
        folder, _, name = output["path"].rpartition("/")
        if folder == "train":
            yield PartFile(name, output["bytes"], output["sha256"])


def _batches(process: Process, ids: str, listed: pa.Table, keep: Sequence[str]) -> Iterator[pa.Table]:
    """The documents of a part in order, in tables; the memory of each is given back before the next."""
    shards = listed.column("shard").combine_chunks().dictionary_encode()
    shards = shards.chunk(0) if isinstance(shards, pa.ChunkedArray) else shards
    names, which = shards.dictionary.to_pylist(), shards.indices.to_numpy()
    rows = listed.column("row").to_numpy()
    places = {shard.name: shard for shard in _shards(process, names)}
    with ExitStack() as stack:
        gathered = _Gathered(process, ids, stack, len(rows), keep)
        for number, name in enumerate(names):
            gathered.add(places[name], np.flatnonzero(which == number), rows)
        yield from gathered.tables(listed, names, which)


def _shards(process: Process, names: Sequence[str]) -> Iterator[ShardAt]:
    wanted = set(names)
    return (shard for shard in indexed(process.run) if shard.name in wanted)


class _Gathered:
    """Where each document of a part lies, and what is known of it beside its ids."""

    def __init__(self, process: Process, ids: str, stack: ExitStack, num_rows: int, keep: Sequence[str]) -> None:
        self._process, self._own_ids, self._stack = process, ids, stack
        self._open: list[KeptIds] = []
        self._chunks: list[pa.ListArray] = []
        self._num_lists = 0
        self._at = np.zeros(num_rows, np.int64)
        self._ids = np.empty(num_rows, object)
        self._locs = np.zeros(num_rows, np.int64)
        self._kept = list(keep)
        self._values: dict[str, list[tuple[NDArray[np.int64], pa.Array]]] = {name: [] for name in self._kept}

    def add(self, shard: ShardAt, at: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Find the documents of one shard; at: their places in the part."""
        run = self._process.run
        stems = kept.kept_files(run.folder, kept.place_of(self._process, self._own_ids, shard), run.recipe.seed)
        ids = self._stack.enter_context(KeptIds(run.folder, stems))
        keys = kept.order_keys(shard.name, rows[at], run.recipe.seed)
        places = ids.places(shard.name, rows[at], keys)
        self._open.append(ids)
        self._at[at] = places + self._num_lists
        for batch in ids.batches:
            self._chunks.append(batch.column("tokens"))
            self._num_lists += len(batch)
        table = pa.Table.from_batches([batch.select(["id", "loc"]) for batch in ids.batches]).take(pa.array(places))
        self._ids[at] = table.column("id").to_numpy(zero_copy_only=False)
        self._locs[at] = table.column("loc").to_numpy()
        labels = sorted({name.split(".", 1)[0] for name in self._kept})
        if labels:
            found = read_block(self._process, Block(shard.name, (shard,)), index=("row",), wanted=dict.fromkeys(labels))
            for name in self._kept:
                label, field = name.split(".", 1)
                column = found.column(label).combine_chunks()
                column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
                self._values[name].append((at, pc.struct_field(column, field).take(pa.array(rows[at]))))

    def tables(self, listed: pa.Table, names: Sequence[str], which: NDArray[Any]) -> Iterator[pa.Table]:
        """The documents in order, some `BATCH_TOKENS` at a time."""
        lists = Lists(self._chunks)
        kind = self._chunks[0].type
        sources = pa.array([name.split("/", 1)[0] for name in names], pa.string())
        stems = pa.array([f"{name}#" for name in names], pa.string())
        values = {name: _in_order(parts) for name, parts in self._values.items()}
        for first, last in _ranges(lists.lengths[self._at]):
            some, numbers = slice(first, last), pa.array(which[first:last])
            part = listed.slice(first, last - first)
            columns: dict[str, Any] = {
                "origin": pc.binary_join_element_wise(stems.take(numbers), _column(part, "row").cast(pa.string()), ""),
                "source": sources.take(numbers),
                "id": pa.array(self._ids[some], pa.string()),
                "loc": pa.array(self._locs[some]),
                "epoch": _column(part, "epoch"),
                "cluster": _column(part, "cluster"),
                **{name: column.slice(first, last - first) for name, column in values.items()},
                "tokens": lists.gather(self._at[some], kind),
            }
            yield pa.table(columns)
            for ids in self._open:
                ids.release()


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _in_order(parts: Sequence[tuple[NDArray[np.int64], pa.Array]]) -> pa.Array:
    """Values of several shards in the order of the part."""
    at = np.concatenate([at for at, _ in parts])
    return pa.concat_arrays([values for _, values in parts]).take(pa.array(np.argsort(at, kind="stable")))


def _ranges(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of documents with at most `BATCH_TOKENS` tokens, or one document; one empty range if there are none."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + BATCH_TOKENS, side="right")), first + 1)
        yield first, last
        first = last
    if len(lengths) == 0:
        yield 0, 0
