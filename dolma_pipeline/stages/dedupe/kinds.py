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
    """The keys of one band in one shard, ascending: keys uint64[k], rows uint32[k]; second: 64 more bits, or None."""

    keys: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    second: NDArray[np.uint64] | None = None


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
    """

    name: str
    format: int = 1

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

    def likeness(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> NDArray[np.uint8] | None:
        """Low bytes of the signatures of these rows, uint8[n, p], for an estimate of how like two documents are; None
        where copies are equal."""
        return None


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


class MinHashKind(DedupeKind):
    """Near-duplicates by MinHash; see `dedup.minhash`."""

    name = "minhash"
    format = 2  # 2: letters of scripts without blanks are words of their own

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`shingle`, `bands`, `rows`."""
        return {"shingle": config.shingle, "bands": config.bands, "rows": config.rows}

    def num_bands(self, config: DedupeStepConfig) -> int:
        """`bands`."""
        return config.bands

    def signer(self, config: DedupeStepConfig) -> Signer:
        """See `DedupeKind.signer`."""
        return _MinHashSigner(config)

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """See `DedupeKind.keys`."""
        names = [f"{column}_{band:02d}" for band in bands for column in ("key", "row")]
        filters = _within(f"key_{bands.start:02d}", *within) if len(bands) == 1 else None
        table = get_table(run.folder, layout.signatures(config.name, shard.name), names, filters=filters)
        return [
            BandKeys(table.column(f"key_{band:02d}").to_numpy(), table.column(f"row_{band:02d}").to_numpy())
            for band in bands
        ]

    def likeness(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> NDArray[np.uint8]:
        """See `DedupeKind.likeness`."""
        found = [np.zeros((0, config.bands * config.rows), np.uint8)]
        for shard, wanted in rows:
            table = get_table(run.folder, layout.signatures(config.name, shard.name), ["row", "low"])
            low = table.column("low").combine_chunks()
            low = low.chunk(0) if isinstance(low, pa.ChunkedArray) else low
            data = np.frombuffer(low.buffers()[1], np.uint8).reshape(-1, low.type.byte_width)
            found.append(data[np.searchsorted(table.column("row").to_numpy(), wanted)])
        return np.concatenate(found)


class _MinHashSigner(Signer):
    def __init__(self, config: DedupeStepConfig) -> None:
        self.config = config
        self.rows: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
        self.keys: list[NDArray[np.uint64]] = [np.zeros((0, config.bands), np.uint64)]
        self.low: list[NDArray[np.uint8]] = [np.zeros((0, config.bands * config.rows), np.uint8)]
        self.num_rows = 0

    def add(self, batch: Batch) -> None:
        from dolma_pipeline.dedup import minhash

        bands, rows = self.config.bands, self.config.rows
        minima, signed = minhash.signatures(batch, shingle=self.config.shingle, num_perm=bands * rows)
        self.keys.append(minhash.band_keys(minima[signed], bands=bands, rows=rows))
        self.low.append(minhash.low_bytes(minima[signed]))
        self.rows.append((np.flatnonzero(signed) + self.num_rows).astype(np.uint32))
        self.num_rows += len(batch)

    def table(self) -> pa.Table:
        """Per band `key_XX` sorted and `row_XX` in its order; `row` and `low` in order of the rows."""
        rows, keys, low = np.concatenate(self.rows), np.concatenate(self.keys), np.concatenate(self.low)
        columns: dict[str, Any] = {"row": rows}
        for band in range(self.config.bands):
            columns[f"key_{band:02d}"], columns[f"row_{band:02d}"] = sorted_column(keys[:, band].copy(), rows)
        width = self.config.bands * self.config.rows
        columns["low"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(low), [None, pa.py_buffer(low.tobytes())]
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
