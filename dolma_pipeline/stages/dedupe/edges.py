"""Pairs of documents with an equal key: a task takes some bands, or where they are long one key range of one.

Of a kind that is verified, documents of the same words count as their first in every band but the last, which is that
of the words; pairs are told apart by band, so that a band's pairs with one left end are a bucket.
Cost: 1.2 CPU seconds and 92 MB for the bands of 10^6 documents; nothing crosses a shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.edges import buckets_in_range, edges_in_range, key_ranges
from dolma_pipeline.io.tables import put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.dedupe.kinds import kind_of

BYTES_A_ROW = 800
"""`max_memory` over this is the rows that one task takes: it needs ~60 bytes a row, and what reads them."""


@dataclass(frozen=True)
class Edges(Phase):
    """The pairs of one dedupe step."""

    step: DedupeStepConfig | None = None

    @property
    def name(self) -> str:
        """`dedupe/edges/<step>`."""
        assert self.step is not None
        return f"dedupe/edges/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The index, and signatures where the kind keeps some."""
        assert self.step is not None
        signed = kind_of(self.step).keeps(self.step)
        return frozenset({"index", *([f"dedupe/{self.step.name}/signatures"] if signed else [])})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Bands and ranges; the key is `<first band>-<bands>-<range>-<ranges>`."""
        assert self.step is not None
        num_rows = sum(shard.rows for shard in indexed(run))
        bands = kind_of(self.step).num_bands(self.step)
        most = max(1, run.recipe.max_memory // BYTES_A_ROW)
        together = max(1, min(bands, most // max(1, num_rows)))
        ranges = 1 + num_rows // most
        for band in range(0, bands, together):
            count = min(together, bands - band)
            for number in range(ranges):
                yield Task(f"{band:02d}-{count:02d}-{number:04d}-{ranges:04d}", num_rows * count // ranges)

    def work(self, process: Process, task: Task) -> Work:
        """Find the pairs of one task; `more` names the file."""
        assert self.step is not None
        run, kind = process.run, kind_of(self.step)
        first, count, number, ranges = (int(part) for part in task.key.split("-"))
        bands, (lo, hi) = range(first, first + count), key_ranges(ranges)[number]
        offsets: list[int] = []
        columns: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in bands]
        second: list[list[np.ndarray]] = [[] for _ in bands]
        words: list[list[np.ndarray]] = [[] for _ in bands]
        without: dict[str, int] = {}
        for shard in indexed(run):
            offsets.append(shard.first)
            for place, keys in enumerate(kind.keys(run, shard, self.step, bands, (lo, hi))):
                columns[place].append((keys.keys, keys.rows))
                if (first, place, number) == (0, 0, 0):  # one task counts, for all bands and ranges
                    without[shard.source] = without.get(shard.source, 0) + keys.without
                if keys.second is not None:
                    second[place].append(keys.second)
                if keys.words is not None:
                    words[place].append(keys.words)
        found = [np.zeros((0, 3), np.int64)]
        for place, band in enumerate(bands):
            if words[place]:
                pairs = buckets_in_range(columns[place], offsets, lo, hi, same=words[place])
            else:
                pairs = edges_in_range(columns[place], offsets, lo, hi, second=second[place] or None)
            found.append(np.column_stack([np.full(len(pairs), band), pairs]))
        edges = np.concatenate(found)
        if not kind.verified:  # it does not matter by which band
            edges[:, 0] = 0
            edges = np.unique(edges, axis=0)
        name = layout.cache("edges", digest([self.digest, run.shards_digest]), f"{self.step.name}/{task.key}.parquet")
        put_table(run.folder, name, pa.table({"band": edges[:, 0], "a": edges[:, 1], "b": edges[:, 2]}))
        counted = {"without": without} if without else {}
        return Work(more={"file": name, "edges": len(edges), **counted}, files=[name])
