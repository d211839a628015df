"""The dedupe kind `minhash`: near-duplicates, found by signatures and verified by sets of shingles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bands import check_reach, solved
from dolma_pipeline.dedup.edges import sorted_column
from dolma_pipeline.documents import Batch
from dolma_pipeline.io.tables import get_table, in_key_range
from dolma_pipeline.run import layout
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.kinds import BandKeys, CopyKind, Signer, register_kind


def shape_of(config: DedupeStepConfig) -> tuple[int, int]:
    """Bands and rows of a step: as given, or solved from `signature_bytes`."""
    if config.signature_bytes is None:
        return config.bands, config.rows
    return solved(config.threshold, config.signature_bytes)


class MinHashKind(CopyKind):
    """Near-duplicates by MinHash; see `dedup.minhash`. The last band is the hash of a document's words."""

    name = "minhash"
    format = 3  # 2: letters of scripts without blanks are words of their own; 3: hash of the words, number of shingles
    verified = True
    kernels = ("components", "sorting", "minhash", "sets")

    def check(self, config: DedupeStepConfig) -> None:
        """The bands must reach down to the threshold."""
        bands, rows = shape_of(config)
        check_reach(config.threshold, bands=bands, rows=rows)

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`shingle`, `bands`, `rows`."""
        bands, rows = shape_of(config)
        return {"shingle": config.shingle, "bands": bands, "rows": rows}

    def num_bands(self, config: DedupeStepConfig) -> int:
        """One more than `bands`."""
        return shape_of(config)[0] + 1

    def signer(self, config: DedupeStepConfig) -> Signer:
        """See `CopyKind.signer`."""
        return _MinHashSigner(config)

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """See `CopyKind.keys`."""
        file = layout.signatures(config.name, shard.name)
        signed = get_table(run.folder, file, ["row", "same_hi", "same_lo"])
        own, hi, lo = (signed.column(name).to_numpy() for name in signed.column_names)
        words = np.stack([hi, lo], axis=1)
        of_minima = [band for band in bands if band < shape_of(config)[0]]
        names = [f"{column}_{band:02d}" for band in of_minima for column in ("key", "row")]
        filters = in_key_range(f"key_{bands.start:02d}", *within) if len(bands) == 1 and of_minima else None
        table = get_table(run.folder, file, names, filters=filters)
        found = []
        for band in of_minima:
            rows = table.column(f"row_{band:02d}").to_numpy()
            keys = table.column(f"key_{band:02d}").to_numpy()
            found.append(BandKeys(keys, rows, words=words[np.searchsorted(own, rows)], without=shard.rows - len(own)))
        if len(of_minima) < len(bands):
            order = np.lexsort((own, lo, hi))
            found.append(BandKeys(hi[order], own[order], lo[order], without=shard.rows - len(own)))
        return found

    def nothing(self, run: Run, config: DedupeStepConfig) -> str:
        """See `DedupeKind.nothing`."""
        return (
            "no document has a word, so none has a signature. Look at the texts (`fields` of the source may name the "
            "wrong column), or leave the step out."
        )

    def num_shingles(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, rows: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """See `DedupeKind.num_shingles`."""
        table = get_table(run.folder, layout.signatures(config.name, shard.name), ["row", "shingles"])
        found = np.zeros(shard.rows, np.int32)
        found[table.column("row").to_numpy()] = table.column("shingles").to_numpy()
        return found[rows]

    def estimates(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """See `CopyKind.estimates`."""
        bands, minima = shape_of(config)
        found, counts = [np.zeros((0, bands * minima), np.uint8)], [np.zeros(0, np.int32)]
        for shard, wanted in rows:
            table = get_table(run.folder, layout.signatures(config.name, shard.name), ["row", "low", "shingles"])
            low = table.column("low").combine_chunks()
            low = low.chunk(0) if isinstance(low, pa.ChunkedArray) else low
            data = np.frombuffer(low.buffers()[1], np.uint8).reshape(-1, low.type.byte_width)
            at = np.searchsorted(table.column("row").to_numpy(), wanted)
            found.append(data[at])
            counts.append(table.column("shingles").to_numpy()[at])
        return np.concatenate(found), np.concatenate(counts)


class _MinHashSigner(Signer):
    def __init__(self, config: DedupeStepConfig) -> None:
        self.shingle, (self.bands, self.minima) = config.shingle, shape_of(config)
        self.rows: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
        self.keys: list[NDArray[np.uint64]] = [np.zeros((0, self.bands), np.uint64)]
        self.low: list[NDArray[np.uint8]] = [np.zeros((0, self.bands * self.minima), np.uint8)]
        self.same: list[NDArray[np.uint64]] = [np.zeros((0, 2), np.uint64)]
        self.shingles: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
        self.num_rows = 0

    def add(self, batch: Batch) -> None:
        from dolma_pipeline.dedup import minhash

        found = minhash.signed_texts(batch, shingle=self.shingle, num_perm=self.bands * self.minima)
        signed, minima = found.signed, found.minima[found.signed]
        self.keys.append(minhash.band_keys(minima, bands=self.bands, rows=self.minima))
        self.low.append(minhash.low_bytes(minima))
        self.rows.append((np.flatnonzero(signed) + self.num_rows).astype(np.uint32))
        self.same.append(found.same[signed])
        self.shingles.append(found.num_shingles[signed])
        self.num_rows += len(batch)

    def table(self) -> pa.Table:
        """Per band `key_XX` sorted and `row_XX` in its order; the rest in order of the rows."""
        rows, keys, low = np.concatenate(self.rows), np.concatenate(self.keys), np.concatenate(self.low)
        same = np.concatenate(self.same)
        columns: dict[str, Any] = {"row": rows, "same_hi": same[:, 0].copy(), "same_lo": same[:, 1].copy()}
        columns["shingles"] = np.concatenate(self.shingles)
        for band in range(self.bands):
            columns[f"key_{band:02d}"], columns[f"row_{band:02d}"] = sorted_column(keys[:, band].copy(), rows)
        columns["low"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(self.bands * self.minima), len(low), [None, pa.py_buffer(low.tobytes())]
        )
        return pa.table(columns)


register_kind(MinHashKind())
