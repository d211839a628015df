"""Where each split is cut into parts, and which documents are in which part, in the order of the shuffle.

One task over columns: 60 bytes a copy while it runs. A part's list (shard, row, epoch, cluster) lies in the cache, so
that no part needs to look at what others hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import OneTask, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.stages.kept import order_keys
from dolma_pipeline.stages.rules import mix_config
from dolma_pipeline.tokens.cuts import cut_points, part_of


def splits(recipe: Recipe, sources: list[str], mix: str = "mix") -> list[str]:
    """Folders of parts below tokens/: train, and held_out/<source> where the mix holds something out."""
    held = [f"held_out/{source}" for source in sources] if mix_config(recipe, mix).held_out else []
    return ["train", *held]


@dataclass
class _Split:
    """What is collected of a split: of each copy its key, tokens, shard's number, row, epoch and cluster."""

    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    tokens: list[NDArray[np.int64]] = field(default_factory=list)
    shards: list[NDArray[np.int32]] = field(default_factory=list)
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    epochs: list[NDArray[np.int32]] = field(default_factory=list)
    clusters: list[pa.Array] = field(default_factory=list)

    def add(
        self,
        number: int,
        epoch: int,
        keys: NDArray[np.uint64],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        clusters: pa.Array,
    ) -> None:
        self.keys.append(keys)
        self.rows.append(rows)
        self.tokens.append(tokens)
        self.shards.append(np.full(len(rows), number, np.int32))
        self.epochs.append(np.full(len(rows), epoch, np.int32))
        self.clusters.append(clusters)


@dataclass(frozen=True)
class Cut(OneTask):
    """Makes the lists of all parts.

    Args:
        tokens: the stage that they are of. mix: the name of its mix.
    """

    tokens: str = "tokens"
    mix: str = "mix"

    @property
    def name(self) -> str:
        """`<tokens>/cut`."""
        return f"{self.tokens}/cut"

    @property
    def needs(self) -> frozenset[str]:
        """What was chosen."""
        return frozenset({self.mix})

    def work(self, process: Process, task: Task) -> Work:
        """Cut; `more` names the lists of each split, in order."""
        run = process.run
        shards = list(indexed(run))
        sources = sorted({shard.source for shard in shards})
        found = {split: _Split() for split in splits(run.recipe, sources, self.mix)}
        for number, shard in enumerate(shards):
            _collect(run, shard, number, found, self.mix)
        if not sum(len(keys) for keys in found["train"].keys):
            what = "the mix" if self.mix == "mix" else f"the mix `{self.mix}`"
            raise DataError(f"{self.tokens}: {what} chose no document for training. Look at {layout.plan(self.mix)}.")
        base = digest([self.digest, run.shards_digest])
        names = pa.array([shard.name for shard in shards], pa.string())
        most = run.recipe.token_sections()[self.tokens].max_shard_tokens
        parts = {name: _write(run, base, name, one, names, most) for name, one in found.items()}
        return Work(more={"parts": parts}, files=[name for files in parts.values() for name in files])


def _collect(run: Run, shard: ShardAt, number: int, found: dict[str, _Split], mix: str) -> None:
    table = get_table(run.folder, layout.selected(shard.name, mix), ["row", "tokens", "cluster", "copies", "held"])
    rows, tokens, copies = (table.column(name).to_numpy() for name in ("row", "tokens", "copies"))
    held = table.column("held").to_numpy(zero_copy_only=False)
    clusters, seed = table.column("cluster").combine_chunks(), run.recipe.seed
    clusters = clusters if isinstance(clusters, pa.Array) else clusters.chunk(0)
    for epoch in range(int(copies.max(initial=0))):
        at = np.flatnonzero(copies > epoch)
        keys = order_keys(shard.name, rows[at], seed, epoch)
        found["train"].add(number, epoch, keys, rows[at], tokens[at], clusters.take(pa.array(at)))
    at = np.flatnonzero(held)
    if len(at):
        keys = order_keys(shard.name, rows[at], seed)
        found[f"held_out/{shard.source}"].add(number, 0, keys, rows[at], tokens[at], clusters.take(pa.array(at)))


def _write(run: Run, base: str, split: str, one: _Split, names: pa.Array, most: int) -> list[str]:
    """The lists of a split's parts; none if it has no documents."""
    if not one.keys:
        return []
    keys, tokens = np.concatenate(one.keys), np.concatenate(one.tokens)
    shards, rows, epochs = (np.concatenate(parts) for parts in (one.shards, one.rows, one.epochs))
    clusters = pa.concat_arrays(one.clusters)
    cuts = cut_points(keys, tokens, max_tokens=most)
    order = np.lexsort((epochs, rows, shards, keys))
    bounds = np.searchsorted(part_of(keys[order], cuts), np.arange(len(cuts) + 2))
    files = []
    for number in range(len(cuts) + 1):
        at = order[bounds[number] : bounds[number + 1]]
        columns: dict[str, Any] = {
            "shard": pa.DictionaryArray.from_arrays(pa.array(shards[at]), names).dictionary_decode(),
            "row": pa.array(rows[at]),
            "epoch": pa.array(epochs[at]),
            "cluster": clusters.take(pa.array(at)),
        }
        name = layout.cache("parts", base, f"{split}/part-{number:05d}.parquet")
        put_table(run.folder, name, pa.table(columns), compression="zstd")
        files.append(name)
    return files
