"""What makes two documents copies: a dedupe kind gives keys; documents with an equal key are copies or candidates.

Another kind is one class with `register_kind`: it is found by `kind:` in `dedupe.steps`. Keys of a band lie sorted
in each shard's file, so that a range of them is one slice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bands import check_reach, solved
from dolma_pipeline.dedup.edges import sorted_column
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.registry import YOUR_OWN, keep_registry
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import read_index
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt


@dataclass(frozen=True)
class BandKeys:
    """The keys of one band in one shard, ascending: keys uint64[k], rows uint32[k]; second: 64 more bits, or None.

    words: of a kind that is verified, uint64[k, 2], a hash of each row's words; None: the keys are that hash.
    """

    keys: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    second: NDArray[np.uint64] | None = None
    words: NDArray[np.uint64] | None = None


class Signer(ABC):
    """Collects what a kind keeps of a shard's texts."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take a batch."""

    @abstractmethod
    def table(self) -> pa.Table:
        """What is kept, as `DedupeKind.keys` reads it."""


class DedupeKind(ABC):
    """One way to find copies.

    Attributes:
        name: in the recipe. format: number of what is kept; another number makes kept work stale.
        verified: an equal key makes only a candidate, and shingles decide (`estimates`, `threshold`); else it makes a
            copy, and what equal keys connect is a cluster.
    """

    name: str
    format: int = 1
    verified: bool = False

    def check(self, config: DedupeStepConfig) -> None:
        """Whatever can be known to be wrong with a step before the run.

        Raises:
            UsageError: what, and what to do.
        """
        return

    @abstractmethod
    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """The keys of the step that its keys depend on."""

    @abstractmethod
    def num_bands(self, config: DedupeStepConfig) -> int:
        """How many keys a document has."""

    def signer(self, config: DedupeStepConfig) -> Signer | None:
        """What collects signatures while texts are read; None if the index is enough."""
        return None

    @abstractmethod
    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """The keys of these bands in a shard that are in `within` (first, one past the last; others may be there)."""

    def estimates(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Of a kind that is verified: low bytes of the signatures of these rows, uint8[n, p], for an estimate of how
        like two documents are; and the number of their shingles, int32[n]."""
        raise NotImplementedError(f"dedupe kind {self.name} is not verified")


KINDS: dict[str, DedupeKind] = {}
"""Every kind of this process, by name."""
keep_registry(KINDS)


def register_kind(kind: DedupeKind) -> DedupeKind:
    """Make a kind known. UsageError if another one of this name is."""
    before = KINDS.get(kind.name)
    if before is not None and type(before) is not type(kind):
        raise UsageError(f"dedupe kind '{kind.name}' is registered twice: {type(before)!r} and {type(kind)!r}")
    KINDS[kind.name] = kind
    return kind


def kind_of(config: DedupeStepConfig) -> DedupeKind:
    """The kind of a step.

    Raises:
        UnknownNameError: there is none of that name; says what is near.
    """
    if config.kind not in KINDS:
        raise UnknownNameError("dedupe kind", config.kind, KINDS, hint=f"Your own: {YOUR_OWN}.")
    return KINDS[config.kind]


class ExactKind(DedupeKind):
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
        """See `DedupeKind.keys`."""
        table = read_index(run, shard, ["hash_hi", "hash_lo", "bytes"])
        hi, lo, size = (table.column(name).to_numpy() for name in ("hash_hi", "hash_lo", "bytes"))
        rows = np.flatnonzero(size > 0)
        order = np.lexsort((rows, lo[rows], hi[rows]))
        rows = rows[order]
        return [BandKeys(hi[rows], rows.astype(np.uint32), lo[rows])]


def shape_of(config: DedupeStepConfig) -> tuple[int, int]:
    """Bands and rows of a step: as given, or solved from `signature_bytes`."""
    if config.signature_bytes is None:
        return config.bands, config.rows
    return solved(config.threshold, config.signature_bytes)


class MinHashKind(DedupeKind):
    """Near-duplicates by MinHash; see `dedup.minhash`. The last band is the hash of a document's words."""

    name = "minhash"
    format = 3  # 2: letters of scripts without blanks are words of their own; 3: hash of the words, number of shingles
    verified = True

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
        """See `DedupeKind.signer`."""
        return _MinHashSigner(config)

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """See `DedupeKind.keys`."""
        file = layout.signatures(config.name, shard.name)
        signed = get_table(run.folder, file, ["row", "same_hi", "same_lo"])
        own, hi, lo = (signed.column(name).to_numpy() for name in signed.column_names)
        words = np.stack([hi, lo], axis=1)
        of_minima = [band for band in bands if band < shape_of(config)[0]]
        names = [f"{column}_{band:02d}" for band in of_minima for column in ("key", "row")]
        filters = _within(f"key_{bands.start:02d}", *within) if len(bands) == 1 and of_minima else None
        table = get_table(run.folder, file, names, filters=filters)
        found = []
        for band in of_minima:
            rows = table.column(f"row_{band:02d}").to_numpy()
            keys = table.column(f"key_{band:02d}").to_numpy()
            found.append(BandKeys(keys, rows, words=words[np.searchsorted(own, rows)]))
        if len(of_minima) < len(bands):
            order = np.lexsort((own, lo, hi))
            found.append(BandKeys(hi[order], own[order], lo[order]))
        return found

    def estimates(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """See `DedupeKind.estimates`."""
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


def _within(column: str, lo: int, hi: int) -> pc.Expression | None:
    """Rows whose key is from `lo` to before `hi`; the column is sorted, so other row groups are not read."""
    if (lo, hi) == (0, 1 << 64):
        return None
    found = pc.field(column) >= pa.scalar(lo, pa.uint64())
    return found if hi > np.iinfo(np.uint64).max else found & (pc.field(column) < pa.scalar(hi, pa.uint64()))


register_kind(ExactKind())
register_kind(MinHashKind())
