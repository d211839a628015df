"""The dedupe kind `exact`: documents whose texts are the same bytes, by the hash that the index has of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.run.columns import read_index
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.kinds import BandKeys, CopyKind, register_kind


class ExactKind(CopyKind):
    """Equal texts: the index's 128-bit hash. An empty text has no key."""

    name = "exact"

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`key`."""
        return {"key": config.key}

    def num_bands(self, config: DedupeStepConfig) -> int:
        """1."""
        return 1

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """See `CopyKind.keys`."""
        table = read_index(run, shard, ["hash_hi", "hash_lo", "bytes"])
        hi, lo, size = (table.column(name).to_numpy() for name in ("hash_hi", "hash_lo", "bytes"))
        rows = np.flatnonzero(size > 0)
        order = np.lexsort((rows, lo[rows], hi[rows]))
        rows = rows[order]
        return [BandKeys(hi[rows], rows.astype(np.uint32), lo[rows])]


register_kind(ExactKind())
