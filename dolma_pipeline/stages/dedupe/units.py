"""Files of units: where the stretches of a shard's texts are that may be repeats, and their hashes, sorted.

Two files a shard. `units`: of each unit the row and its code points (and its first word), in order, as differences:
some 4 bytes a unit. `keys`: its hash, its row, and its number in the other file; ascending in pieces of `PIECE`, so
that no task holds more than one, and that a range of keys is read alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.dedup.edges import sorted_column
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import TableWriter, get_table, in_key_range
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.span_kinds import Units
from dolma_pipeline.storage.folder import RunFolder

PIECE = 1 << 21
"""Units that are sorted together."""
MOST_UNITS = 1 << 32
"""Of one shard: numbers have 32 bits."""


class UnitKeys(NamedTuple):
    """Hashes of a shard's units, in any order: keys (uint64), more (uint64 or None), rows and units (uint32)."""

    keys: NDArray[np.uint64]
    more: NDArray[np.uint64] | None
    rows: NDArray[np.uint32]
    units: NDArray[np.uint32]

    def taken(self, some: NDArray[np.bool_]) -> UnitKeys:
        """Those of some units."""
        more = None if self.more is None else self.more[some]
        return UnitKeys(self.keys[some], more, self.rows[some], self.units[some])


class UnitWriter:
    """Writes the units of a shard batch by batch.

    Args:
        folder: of the run. artifact: whose units they are. shard: its name. stack: where files are committed.
        wide: whether units have `more`. words: whether they have `words`.
    """

    def __init__(
        self, folder: RunFolder, artifact: Artifact, shard: str, stack: ExitStack, *, wide: bool, words: bool
    ) -> None:
        self._artifact, self.count = artifact, 0
        columns = ["row", *(["word"] if words else []), "start", "end"]
        schema = pa.schema([pa.field(name, pa.int32()) for name in columns])
        hashes = [pa.field(name, pa.uint64()) for name in ("key", *(["more"] if wide else []))]
        keys = pa.schema([*hashes, pa.field("row", pa.uint32()), pa.field("unit", pa.uint32())])
        self._names = layout.units(artifact.name, shard), layout.unit_keys(artifact.name, shard)
        self._files = [stack.enter_context(folder.committing(name)) for name in self._names]
        deltas = dict.fromkeys(columns, "DELTA_BINARY_PACKED")
        self._units = TableWriter(self._files[0], schema, compression="zstd", encoding=deltas)
        self._keys = TableWriter(self._files[1], keys, compression="none")
        self._held: list[UnitKeys] = []
        self._num_held = 0

    def add(self, units: Units, first_row: int) -> None:
        """Take the units of a batch; first_row: row of its first text in the shard.

        Raises:
            DataError: there are more than a file can hold.
        """
        rows = units.rows + np.int32(first_row)
        columns = [rows, *([units.words] if units.words is not None else []), units.starts, units.ends]
        self._units.write([pa.array(column, pa.int32()) for column in columns])
        numbers = np.arange(self.count, self.count + len(rows))
        self.count += len(rows)
        if self.count > MOST_UNITS:
            raise DataError(
                f"{self._names[0]}: more than {MOST_UNITS:,} units in one shard. Cut its file into several."
            )
        held = UnitKeys(units.keys, units.more, rows.astype(np.uint32), numbers.astype(np.uint32))
        self._held.append(held)
        self._num_held += len(rows)
        if self._num_held >= PIECE:
            self._flush()

    def _flush(self) -> None:
        held, self._held, self._num_held = self._held, [], 0
        if not held:
            return
        units = np.concatenate([one.units for one in held])
        if len(units) == 0:
            return
        first = int(units[0])
        keys, units = sorted_column(np.concatenate([one.keys for one in held]), units)
        at = units.astype(np.int64) - first
        wide = [one.more for one in held if one.more is not None]
        more = [np.concatenate(wide)[at]] if wide else []
        rows = np.concatenate([one.rows for one in held])[at]
        self._keys.write([pa.array(column) for column in (keys, *more, rows, units)])

    def close(self) -> None:
        """Write what is held; the files themselves stay open."""
        self._flush()
        self._units.close()
        self._keys.close()

    def outputs(self) -> list[dict[str, Any]]:
        """What a record says of the files, once they are committed."""
        return [
            output_record(self._artifact, name, file, rows=self.count)
            for name, file in zip(self._names, self._files, strict=True)
        ]


def read_unit_keys(run: Run, artifact: str, shard: ShardAt, within: tuple[int, int]) -> UnitKeys:
    """The hashes of a shard's units that are in a range (first, one past the last)."""
    table = get_table(run.folder, layout.unit_keys(artifact, shard.name), filters=in_key_range("key", *within))
    more = table.column("more").to_numpy() if "more" in table.column_names else None
    keys, rows, units = (table.column(name).to_numpy() for name in ("key", "row", "unit"))
    return UnitKeys(keys, more, rows, units)
