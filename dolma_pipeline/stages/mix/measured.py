"""What the plan asks of a document that passes: its keys, its sizes, its cluster. A file a shard, in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import read_block, read_index
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.rules import mix_config, source_rules
from dolma_pipeline.tokens.keys import document_key

MEASURED = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("key", pa.uint64()),
        pa.field("held_key", pa.uint64()),
        pa.field("tokens", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("edited", pa.bool_()),
        pa.field("cluster", pa.string()),
    ]
)
"""A document that passes. key: draws it. held_key: decides whether its cluster is held out. tokens: its ids and EOS,
0 without a tokenizer or without ids. bytes: of its text as it was read. edited: whether edits change it.
cluster: all that the dedupe steps connect with it have the same; without such steps its own origin."""


def measured_name(run: Run, mix: Artifact, shard: str) -> str:
    """Where the measures of a shard are; which documents pass depends on all shards."""
    return layout.cache("measured", digest([mix.whole_digest, run.shards_digest]), f"{shard}.parquet")


@dataclass(frozen=True)
class Measured:
    """The documents of a shard that pass, with their keys.

    rows: ascending. keys, held_keys: uint64. clusters: their names. held_cut: clusters below may be held out.
    mix: whose rules they pass.
    """

    shard: ShardAt
    rows: NDArray[np.int64]
    keys: NDArray[np.uint64]
    held_keys: NDArray[np.uint64]
    clusters: list[str]
    held_cut: np.uint64
    mix: str = "mix"

    @classmethod
    def of(cls, process: Process, shard: ShardAt, rows: NDArray[np.int64], mix: str = "mix") -> Measured:
        """Compute the keys."""
        recipe = process.run.recipe
        origins = [f"{shard.name}#{row}" for row in rows.tolist()]
        clusters = origins
        steps = electing_steps(recipe)
        if steps and len(rows):
            step = steps[-1].name
            block = Block(shard.name, (shard,))
            table = read_block(process, block, index=(), wanted={step: frozenset({"group"})})
            column = table.column(step).combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            clusters = pc.struct_field(column, "group").take(pa.array(rows)).to_pylist()
        held_out = mix_config(recipe, mix).held_out
        share = held_out.share if held_out else 0.0
        return cls(
            shard,
            rows,
            document_key(origins, seed=recipe.seed),
            document_key(clusters, seed=recipe.seed, purpose="held_out"),
            clusters,
            np.uint64(min(int(share * (1 << 64)), (1 << 64) - 1)),
            mix,
        )

    def may_be_held(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows may be held out, whatever their sizes are."""
        found: NDArray[np.bool_] = self.held_keys[np.searchsorted(self.rows, rows)] < self.held_cut
        return found

    def table(self, process: Process, place: str) -> pa.Table:
        """All that is measured (`MEASURED`); place: of the kept ids, "" where there are none."""
        tokens, edited = np.zeros(len(self.rows), np.int64), np.zeros(len(self.rows), np.bool_)
        if place and len(self.rows):
            tokens, edited = self._from_kept(process, place)
        elif len(self.rows):
            edited = self._from_spans(process)
        sizes = read_index(process.run, self.shard, ["bytes"]).column("bytes").to_numpy()[self.rows]
        columns: list[Any] = [self.rows, self.keys, self.held_keys, tokens, sizes, edited, self.clusters]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, MEASURED, strict=True)]
        return pa.Table.from_arrays(arrays, schema=MEASURED)

    def _from_kept(self, process: Process, place: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        folder, seed = process.run.folder, process.run.recipe.seed
        with kept.KeptIds(folder, kept.kept_files(folder, place, seed)) as ids:
            rows = ids.column("row")
            order = np.argsort(rows, kind="stable")
            at = np.searchsorted(rows[order], self.rows)
            if len(rows) == 0 or (at >= len(rows)).any() or (rows[order][at] != self.rows).any():
                raise DataError(f"{self.shard.name}: tokens of some documents are not among the kept ids in {place}.")
            counts = ids.num_tokens()[order][at]
            return np.where(counts > 0, counts + 1, 0), ids.column("edited")[order][at].astype(np.bool_)

    def _from_spans(self, process: Process) -> NDArray[np.bool_]:
        rules = source_rules(process, self.shard.source, self.mix)
        if not rules.edits:
            return np.zeros(len(self.rows), np.bool_)
        block = Block(self.shard.name, (self.shard,))
        table = read_block(process, block, index=("row",), wanted=rules.edit_columns)
        edited = np.zeros(self.shard.rows, np.bool_)
        for edit in rules.edits:
            column = table.column(edit.column).combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            lengths = pc.list_value_length(pc.struct_field(column, edit.field)).fill_null(0)
            edited |= lengths.to_numpy(zero_copy_only=False) > 0
        return edited[self.rows]
