"""Documents that may go as duplicates: do they pass, and where they stand in the order; a task a block of shards.

A candidate passes the rules that name no dedupe step, and every earlier step kept it. Ties in the order of `prefer` go
to the source that comes first in the recipe, then to the first seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.io.tables import get_range, get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.earlier import (
    Earlier,
    arrived,
    counted,
    earlier_columns,
    earlier_of,
    schema_of,
    step_of,
)
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.judged import read_passes
from dolma_pipeline.stages.rules import preferred

SOURCE_PLACE = "source_place"
SHINGLES = "shingles of "
"""With what the columns begin that have the number of shingles of a step's documents."""


def clustered(run: Run, first: int, last: int) -> NDArray[np.int64]:
    """Numbers from `first` to before `last` of documents that have a key in common with another one, ascending."""
    found = [np.zeros(0, np.int64)]
    for step in electing_steps(run.recipe):
        found.append(get_range(run.folder, layout.members(step.name), "node", first, last).column("node").to_numpy())
    return np.unique(np.concatenate(found))


@dataclass(frozen=True)
class Candidates(Phase):
    """Of the documents in clusters: do they pass, and what `prefer` orders by.

    Args:
        judged: the verdicts of the rules that name no dedupe step; None where the recipe has no rules.
        remembered: the columns of all steps, in order, where earlier documents keep their verdicts.
    """

    judged: Artifact | None = None
    remembered: tuple[Artifact, ...] = ()

    @property
    def name(self) -> str:
        """`dedupe/candidates`."""
        return "dedupe/candidates"

    @property
    def needs(self) -> frozenset[str]:
        """Clusters, verdicts, and whatever else its artifacts are made from."""
        own = {artifact.name for artifact in self.artifacts}
        return frozenset(need.name for one in self.artifacts for need in one.needs if need.name not in own)

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards."""
        return arrived(run, self, self.remembered)

    def work(self, process: Process, task: Task) -> Work:
        """Look at one block; `more` names the file, none where no document is in a cluster, and counts what is old for
        each step."""
        block, old = task.payload.block, task.payload.old
        run = process.run
        more = {"old": {step: counted(block.shards, names) for step, names in old.items()}}
        first = block.shards[0].first
        nodes = clustered(run, first, first + block.rows)
        if len(nodes) == 0:
            return Work(more={"file": None, **more})
        rows = nodes - first
        passes = np.ones(block.rows, np.bool_)
        if self.judged is not None:
            passes = np.concatenate([read_passes(run, self.judged, shard) for shard in block.shards])
        place = list(run.recipe.sources).index(block.shards[0].source)
        columns = {"node": pa.array(nodes), "passes": pa.array(passes[rows])}
        columns[SOURCE_PLACE] = pa.repeat(pa.scalar(place, pa.int32()), len(nodes))
        for step in verified_steps(run.recipe):
            columns[SHINGLES + step.name] = pa.array(_shingles(run, step, block.shards, nodes))
        for step_name, names in old.items():
            columns |= earlier_columns(run, step_name, block.shards, nodes, names)
        order = preferred(process, block.shards[0].source)
        if order is not None:
            index, wanted = order.split(process, block.shards[0].source)
            table = read_block(process, block, index=index, wanted=wanted).take(pa.array(rows))
            values = order.order.values(table)
            columns |= dict(zip(values.column_names, values.columns, strict=True))
        name = layout.cache("candidates", digest([self.digest, run.shards_digest]), f"{block.key}.parquet")
        put_table(run.folder, name, pa.table(columns))
        return Work(more={"file": name, **more}, files=[name])


def verified_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """The steps whose copies are verified, in order."""
    return [step for step in electing_steps(recipe) if kind_of(step).verified]


def _shingles(
    run: Run, step: DedupeStepConfig, shards: tuple[ShardAt, ...], nodes: NDArray[np.int64]
) -> NDArray[np.int32]:
    """How many shingles each of these documents has; 0 of one without a signature."""
    found = [np.zeros(0, np.int32)]
    for shard in shards:
        rows = nodes[np.searchsorted(nodes, shard.first) : np.searchsorted(nodes, shard.first + shard.rows)]
        if len(rows):
            found.append(kind_of(step).num_shingles(run, shard, step, rows - shard.first))
    return np.concatenate(found)


class Looked(NamedTuple):
    """Documents that any step may take away, n of them by number, ascending.

    passes: bool[n]. place: int64[n], in the order of `prefer`. shingles: step that is verified -> int64[n], how many
    each has. earlier: step -> what it has decided of some of them before; only of steps that have. counted: the same
    steps -> of all documents of the run, how many were judged before and how many are `new`.
    """

    nodes: NDArray[np.int64]
    passes: NDArray[np.bool_]
    place: NDArray[np.int64]
    shingles: dict[str, NDArray[np.int64]]
    earlier: dict[str, Earlier]
    counted: dict[str, dict[str, int]]


def _nobody(process: Process, remembered: Sequence[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "node": pa.array([], pa.int64()),
        "passes": pa.array([], pa.bool_()),
        SOURCE_PLACE: pa.array([], pa.int32()),
    }
    columns |= {SHINGLES + step.name: pa.array([], pa.int32()) for step in verified_steps(process.run.recipe)}
    columns |= {name: pa.array([], type_) for name, type_ in schema_of(remembered).items()}
    order = preferred(process, next(iter(process.run.recipe.sources)))
    if order is not None:
        columns |= {field.name: pa.array([], field.type) for field in order.order.schema}
    return pa.table(columns)


def preferred_places(process: Process, candidates: pa.Table) -> NDArray[np.int64]:
    """The place of each candidate in the order of `prefer`: int64[n], 0 first; then by source, then first seen."""
    order = preferred(process, next(iter(process.run.recipe.sources)))
    if order is not None:
        values = candidates.drop_columns(["node", "passes"])
        sequence = order.order.order(values, ties=[SOURCE_PLACE])
    else:
        keys = candidates.column("node").to_numpy(), candidates.column(SOURCE_PLACE).to_numpy()
        sequence = np.lexsort(keys)
    place = np.empty(len(sequence), np.int64)
    place[sequence] = np.arange(len(sequence))
    return place


def candidates_of(process: Process, candidates: Candidates) -> Looked:
    """What the phase found."""
    parts, old = list[pa.Table](), dict[str, Counter[str]]()
    for record in read_records(process.run, candidates, candidates.tasks(process.run)):
        if record["more"]["file"]:
            parts.append(get_table(process.run.folder, record["more"]["file"]))
        for step, count in record["more"]["old"].items():
            old.setdefault(step, Counter()).update(count)
    remembered = [step_of(one) for one in candidates.remembered]
    found = pa.concat_tables(parts) if parts else _nobody(process, remembered)
    steps = [step.name for step in verified_steps(process.run.recipe)]
    shingles = {step: found.column(SHINGLES + step).to_numpy().astype(np.int64) for step in steps}
    place = preferred_places(
        process, found.drop_columns([*(SHINGLES + step for step in steps), *schema_of(remembered)])
    )
    earlier = {step: earlier_of(process.run, step, found) for step in remembered if old.get(step, Counter())["shards"]}
    told = {step: {key: old[step][key] for key in ("documents", "new")} for step in earlier}
    return Looked(found.column("node").to_numpy(), found.column("passes").to_numpy(), place, shingles, earlier, told)
