"""What an election makes of the columns of dedupe steps, as far as rules read them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.look.folder import Finished, SourceRows
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.stages.dedupe.election import Elected
from dolma_pipeline.stages.dedupe.origins import origins_of, origins_of_rows

DEFAULTS = {"size": np.int64(1), "rank": np.int64(0), "keep": np.bool_(True), "jaccard": np.float64(1)}
"""Of a document that is in no cluster."""


def marks_of(
    finished: Finished,
    elected: Mapping[str, Elected],
    source: SourceRows,
    wanted: Mapping[str, frozenset[str]],
) -> dict[str, pa.StructArray]:
    """Columns of dedupe steps for the documents of a source.

    Args:
        elected: step -> outcome for its clustered documents. wanted: step -> fields of its column.
    """
    found: dict[str, pa.StructArray] = {}
    for step, fields in wanted.items():
        one = elected[step]
        lo, hi = np.searchsorted(one.nodes, [source.first, source.first + source.rows])
        rows = one.nodes[lo:hi] - source.first
        columns = {}
        for field in DEDUPE_TYPE:
            if field.name not in fields:
                continue
            if field.name == "cluster":
                columns[field.name] = _named(finished, source, rows, one.keeper[lo:hi])
            elif field.name == "group":
                columns[field.name] = _groups(finished, one, source)
            else:
                columns[field.name] = _filled(field.name, source.rows, rows, getattr(one, field.name)[lo:hi])
        order = [field for field in DEDUPE_TYPE if field.name in columns]
        found[step] = pa.StructArray.from_arrays([columns[field.name] for field in order], fields=order)
    return found


def _filled(name: str, num_rows: int, rows: NDArray[np.int64], values: NDArray[np.generic]) -> pa.Array:
    found = np.full(num_rows, DEFAULTS[name])
    found[rows] = values
    return pa.array(found, from_pandas=True)


def _named(finished: Finished, source: SourceRows, rows: NDArray[np.int64], others: NDArray[np.int64]) -> pa.Array:
    """Each document's own origin, in some rows that of another one."""
    own = pa.concat_arrays([origins_of_rows(shard) for shard in source.shards])
    if len(rows) == 0:
        return own
    mask = np.zeros(source.rows, np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(own, pa.array(mask), origins_of(finished.run, others))


def _groups(finished: Finished, one: Elected, source: SourceRows) -> pa.Array:
    """The first document of all that this step or an earlier one connects with each document."""
    lo, hi = np.searchsorted(one.group_nodes, [source.first, source.first + source.rows])
    return _named(finished, source, one.group_nodes[lo:hi] - source.first, one.group_labels[lo:hi])
