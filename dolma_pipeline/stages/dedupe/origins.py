"""Documents by number and by origin: the list of shards streams by, and nobody holds it whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.stages.dedupe.likeness import rows_by_shard


def origins_of(run: Run, numbers: NDArray[np.int64]) -> pa.Array:
    """`source/path#row` of documents by their numbers, int64[n] in any order."""
    wanted = np.unique(numbers)
    parts = [pa.array([], pa.string())]
    for shard, rows in rows_by_shard(indexed(run), wanted):
        parts.append(pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), pa.array(rows).cast(pa.string()), ""))
    return pa.concat_arrays(parts).take(pa.array(np.searchsorted(wanted, numbers)))


def origins_of_rows(shard: ShardAt) -> pa.Array:
    """`source/path#row` of every document of a shard."""
    rows = pa.array(np.arange(shard.rows)).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), rows, "")


def numbers_of(run: Run, origins: pa.Array) -> NDArray[np.int64]:
    """The numbers of documents by their origins: int64[n].

    Raises:
        DataError: an origin of no document of the run.
    """
    cut = pc.extract_regex(origins, r"^(?P<shard>.+)#(?P<row>[0-9]+)$")
    known = cut.is_valid()
    shards = pc.if_else(known, cut.field("shard"), "").dictionary_encode()
    names = shards.dictionary.to_pylist()
    first, size = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for shard in indexed(run):
        if shard.name in first:
            first[shard.name], size[shard.name] = shard.first, shard.rows
    which = shards.indices.to_numpy()
    row = pc.if_else(known, cut.field("row"), "0").cast(pa.int64()).to_numpy()
    starts, sizes = (np.array([of[name] for name in names], np.int64) for of in (first, size))
    wrong = row >= sizes[which]  # of a shard that is not there, every row
    if wrong.any():
        raise DataError(
            f"{run.folder.url}: a duplicate was marked for '{origins[int(np.argmax(wrong))].as_py()}', which is no "
            "document of this run. This is a fault of the program. Please report it."
        )
    found: NDArray[np.int64] = starts[which] + row
    return found
