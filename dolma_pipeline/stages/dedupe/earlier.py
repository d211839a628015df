"""Verdicts of earlier documents that stay as they are (`dedupe.keep: old`), read from the columns that hold them.

A step's column is the only place where they are: files of earlier shards are never written again, so a run that is
killed and goes on finds the same. Earlier are the shards of the column as it was last finished, not those that an
unfinished run has written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.dedup.settled import Settled, nothing_settled
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.records import earlier_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed
from dolma_pipeline.stages.dedupe.likeness import rows_by_shard
from dolma_pipeline.stages.dedupe.origins import numbers_of

KEEP = "old"
_FIELDS = {name: DEDUPE_TYPE.field(name).type for name in ("keep", "cluster", "jaccard", "group")}


def keeps_old(recipe: Recipe) -> bool:
    """Whether earlier documents keep their verdicts."""
    return recipe.dedupe is not None and recipe.dedupe.keep == KEEP


def step_of(artifact: Artifact) -> str:
    """The dedupe step whose column an artifact is."""
    return artifact.name.rpartition("/")[2]


@dataclass(frozen=True)
class Arrived:
    """A block of shards, and which of them had come before: a task carries it, so that a copy of the task that is late
    knows what was old when it was planned.

    old: step -> names of the block's shards whose verdicts stand.
    """

    block: Block
    old: Mapping[str, frozenset[str]]


def arrived(run: Run, phase: Phase, artifacts: Sequence[Artifact]) -> Iterator[Task]:
    """A task for each block of shards, with an `Arrived`.

    Of a column that the phase makes those shards are old that it had when it was opened again; of one that is finished,
    all.

    Args:
        artifacts: columns of steps.
    """
    made = {one.name for one in phase.artifacts}
    old: dict[str, frozenset[str]] = {}
    for one in artifacts:
        if one.remembers:
            lines = earlier_records(run, one) if one.name in made else read_lines(run.folder, one.folder)
            old[step_of(one)] = frozenset(line["shard"] for line in lines)
    for block in blocks(indexed(run)):
        names = {shard.name for shard in block.shards}
        yield Task(block.key, block.rows, Arrived(block, {step: some & names for step, some in old.items()}))


@dataclass(frozen=True)
class Earlier:
    """What is decided of earlier documents by one step: of those of them that may be copies of others, by number.

    nodes: ascending. keep: bool. keeper: whom each went for, else itself. jaccard: to that one. group: the first
    document of its group. jaccard is NaN where it was judged by estimate.
    """

    nodes: NDArray[np.int64]
    keep: NDArray[np.bool_]
    keeper: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    group: NDArray[np.int64]

    def at(self, nodes: NDArray[np.int64]) -> Settled:
        """The same of these documents, ascending, the keepers as places among them.

        Args:
            nodes: int64[n]; with a document there is the one that it went for.
        """
        found = nothing_settled(len(nodes))
        old = np.isin(nodes, self.nodes)
        own = np.searchsorted(self.nodes, nodes[old])
        found.old[old], found.keep[old] = True, self.keep[own]
        found.keeper[old], found.jaccard[old] = np.searchsorted(nodes, self.keeper[own]), self.jaccard[own]
        return found


def names_of(step: str) -> dict[str, str]:
    """The columns of a table of candidates that hold what a step has decided before; NULL of what is new."""
    return {field: f"earlier {field} of {step}" for field in _FIELDS}


def schema_of(steps: Sequence[str]) -> dict[str, pa.DataType]:
    """These columns of some steps, with their types."""
    return {name: _FIELDS[field] for step in steps for field, name in names_of(step).items()}


def stored_marks(run: Run, step: str, shard: ShardAt, rows: NDArray[np.int64]) -> pa.StructArray:
    """What a step's column says of some rows of a shard (`DEDUPE_TYPE`)."""
    column = get_table(run.folder, layout.attributes(step, shard.name), [step]).column(step).combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return column.take(pa.array(rows))


def earlier_columns(
    run: Run, step: str, shards: Sequence[ShardAt], nodes: NDArray[np.int64], old: frozenset[str]
) -> dict[str, pa.Array]:
    """These columns of some documents; nodes: of these shards, ascending. old: names of shards that were judged."""
    parts = [pa.table({field: pa.array([], type_) for field, type_ in _FIELDS.items()})]
    for shard, rows in rows_by_shard(iter(shards), nodes):
        if shard.name in old:
            marks = stored_marks(run, step, shard, rows)
            parts.append(pa.table({field: marks.field(field) for field in _FIELDS}))
        else:
            parts.append(pa.table({field: pa.nulls(len(rows), type_) for field, type_ in _FIELDS.items()}))
    table = pa.concat_tables(parts).combine_chunks()
    return {name: table.column(field) for field, name in names_of(step).items()}


def earlier_of(run: Run, step: str, candidates: pa.Table) -> Earlier:
    """What a step has decided before; candidates: with its columns, and `node`."""
    names = names_of(step)
    own = candidates.select(["node", *names.values()]).rename_columns(["node", *names])
    own = own.filter(pc.is_valid(own.column("keep"))).combine_chunks()
    keep = own.column("keep").to_numpy()
    nodes = own.column("node").to_numpy()
    numbers = [numbers_of(run, pa.concat_arrays([pa.array([], pa.string()), *own.column(field).chunks]))
               for field in ("cluster", "group")]  # fmt: skip
    return Earlier(nodes, keep, numbers[0], own.column("jaccard").to_numpy(), numbers[1])


def counted(shards: Iterable[ShardAt], old: Collection[str]) -> dict[str, int]:
    """Of some shards: how many were judged before, how many documents are in them (`documents`), how many in others
    (`new`)."""
    found = {"shards": 0, "documents": 0, "new": 0}
    for shard in shards:
        found["shards"] += shard.name in old
        found["documents" if shard.name in old else "new"] += shard.rows
    return found


def new_shards(shards: Iterable[ShardAt], old: Collection[str]) -> Iterator[ShardAt]:
    """Those that were not judged before; old: names of shards."""
    return (shard for shard in shards if shard.name not in old)
