"""Who stays of each cluster: candidates (a task a block of shards), then the election (one task), from columns alone.

A candidate passes the rules that name no dedupe step, and every earlier step kept it. The preferred candidate of a
cluster stays; ties go to the source that comes first in the recipe, then to the first seen. A cluster with a good copy
always keeps one, because copies that the rules would drop are not candidates. In memory: ~200 bytes a clustered
document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.dedup.components import connected
from dolma_pipeline.dedup.keep import Election, elect
from dolma_pipeline.dedup.minhash import estimate_jaccard
from dolma_pipeline.io.tables import get_range, get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.judged import read_passes
from dolma_pipeline.stages.rules import preferred

SOURCE_PLACE = "source_place"


def all_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """The recipe's dedupe steps, in order."""
    return list(recipe.dedupe.steps) if recipe.dedupe else []


def members_of(process: Process, step: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Documents of a step that are in a cluster, by number, and their labels; read once a process."""

    def read() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        table = get_table(process.run.folder, layout.members(step))
        return table.column("node").to_numpy(), table.column("label").to_numpy()

    return process.kept(("members", step), read)


def clustered(run: Run, first: int, last: int) -> NDArray[np.int64]:
    """Numbers from `first` to before `last` of documents that are in a cluster of any step, ascending."""
    found = [np.zeros(0, np.int64)]
    for step in all_steps(run.recipe):
        found.append(get_range(run.folder, layout.members(step.name), "node", first, last).column("node").to_numpy())
    return np.unique(np.concatenate(found))


@dataclass(frozen=True)
class Candidates(Phase):
    """Of the documents in clusters: do they pass, and what `prefer` orders by.

    Args:
        judged: the verdicts of the rules that name no dedupe step; None where the recipe has no rules.
    """

    judged: Artifact | None = None

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
        for block in blocks(indexed(run)):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Look at one block; `more` names the file, none where no document is in a cluster."""
        block: Block = task.payload
        run = process.run
        first = block.shards[0].first
        nodes = clustered(run, first, first + block.rows)
        if len(nodes) == 0:
            return Work(more={"file": None})
        rows = nodes - first
        passes = np.ones(block.rows, np.bool_)
        if self.judged is not None:
            passes = np.concatenate([read_passes(run, self.judged, shard) for shard in block.shards])
        place = list(run.recipe.sources).index(block.shards[0].source)
        columns = {"node": pa.array(nodes), "passes": pa.array(passes[rows])}
        columns[SOURCE_PLACE] = pa.repeat(pa.scalar(place, pa.int32()), len(nodes))
        order = preferred(process, block.shards[0].source)
        if order is not None:
            index, wanted = order.split(process, block.shards[0].source)
            table = read_block(process, block, index=index, wanted=wanted).take(pa.array(rows))
            values = order.order.values(table)
            columns |= dict(zip(values.column_names, values.columns, strict=True))
        name = layout.cache("candidates", digest([self.digest, run.shards_digest]), f"{block.key}.parquet")
        put_table(run.folder, name, pa.table(columns))
        return Work(more={"file": name}, files=[name])


@dataclass(frozen=True)
class Elect(Phase):
    """The keeper of each cluster, step by step; one task.

    Args:
        candidates: the phase that looked at the documents.
    """

    candidates: Candidates | None = None

    @property
    def name(self) -> str:
        """`dedupe/elect`."""
        return "dedupe/elect"

    @property
    def needs(self) -> frozenset[str]:
        """The candidates."""
        return frozenset({"dedupe/candidates"})

    @property
    def spread(self) -> bool:
        """No: the steps depend on each other."""
        return False

    def tasks(self, run: Run) -> Iterator[Task]:
        """The one task."""
        yield Task("all")

    def work(self, process: Process, task: Task) -> Work:
        """Elect in all steps, in order; `more` names the files of each step."""
        assert self.candidates is not None
        run = process.run
        parts = [
            get_table(run.folder, record["more"]["file"])
            for record in read_records(run, self.candidates, self.candidates.tasks(run))
            if record["more"]["file"]
        ]
        found = pa.concat_tables(parts) if parts else _nobody(process)
        place = preferred_places(process, found)
        nodes, passes = found.column("node").to_numpy(), found.column("passes").to_numpy()
        members = {step.name: members_of(process, step.name) for step in all_steps(run.recipe)}
        files: dict[str, dict[str, str]] = {}
        base = digest([self.digest, run.shards_digest])
        for step, elected in elections(members, nodes, passes, place):
            jaccard = likeness(process, step, elected.nodes, elected.keeper)
            table = pa.table({**elected.columns(), "jaccard": jaccard, "cluster": origins_of(run, elected.keeper)})
            names = {what: layout.cache("elected", base, f"{what}/{step}.parquet") for what in ("elected", "groups")}
            put_table(run.folder, names["elected"], table, compression="zstd")
            groups = pa.table({"node": elected.group_nodes, "group": origins_of(run, elected.group_labels)})
            put_table(run.folder, names["groups"], groups, compression="zstd")
            files[step] = names
        return Work(more={"files": files}, files=[name for names in files.values() for name in names.values()])


def _nobody(process: Process) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "node": pa.array([], pa.int64()),
        "passes": pa.array([], pa.bool_()),
        SOURCE_PLACE: pa.array([], pa.int32()),
    }
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


@dataclass(frozen=True)
class Elected:
    """The outcome of one step for the documents in its clusters, by number.

    nodes, labels, size, rank (int64), keep (bool), keeper (int64: the first of the cluster): of each clustered
    document, by number. group_nodes, group_labels: what this step and the earlier ones connect, taken together.
    """

    nodes: NDArray[np.int64]
    labels: NDArray[np.int64]
    size: NDArray[np.int64]
    rank: NDArray[np.int64]
    keep: NDArray[np.bool_]
    keeper: NDArray[np.int64]
    group_nodes: NDArray[np.int64]
    group_labels: NDArray[np.int64]

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """What is written of it."""
        return {"node": self.nodes, "size": self.size, "rank": self.rank, "keep": self.keep}


def elections(
    members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    nodes: NDArray[np.int64],
    passes: NDArray[np.bool_],
    place: NDArray[np.int64],
) -> Iterator[tuple[str, Elected]]:
    """The election of each step, in order. Pure: what-if asks the same question with other rules.

    Args:
        members: step -> documents in clusters, and labels; in the order of the steps.
        nodes: documents in clusters of any step, ascending. passes: bool. place: in the preferred order.
    """
    so_far: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for step, ranked in ranked_members(members, nodes, passes, place):
        own, labels = so_far[step] = members[step]
        group_nodes = np.unique(np.concatenate([one for one, _ in so_far.values()]))
        group_labels = connected(so_far, group_nodes)
        size, rank, keep = ranked
        yield step, Elected(own, labels, size, rank, keep, keepers(own, labels, rank), group_nodes, group_labels)


def ranked_members(
    members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    nodes: NDArray[np.int64],
    passes: NDArray[np.bool_],
    place: NDArray[np.int64],
) -> Iterator[tuple[str, Election]]:
    """Size, rank and `keep` of each step's clustered documents: the part of `elections` that rules can change."""
    kept = np.ones(len(nodes), np.bool_)
    for step, (own, labels) in members.items():
        at = np.searchsorted(nodes, own)
        ranked = elect(labels, passes[at] & kept[at], place[at])
        kept[at[~ranked.keep]] = False
        yield step, ranked


def keepers(own: NDArray[np.int64], labels: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each clustered document the one that comes first in its cluster, by number: int64[n]."""
    if len(own) == 0:
        return own
    firsts = np.flatnonzero(rank == 0)
    firsts = firsts[np.argsort(labels[firsts])]
    return own[firsts[np.searchsorted(labels[firsts], labels)]]


def likeness(process: Process, step: str, nodes: NDArray[np.int64], keeper: NDArray[np.int64]) -> NDArray[np.float64]:
    """Estimated likeness of each clustered document to the first of its cluster."""
    config = next(one for one in all_steps(process.run.recipe) if one.name == step)
    low = kind_of(config).likeness(process.run, config, _rows_by_shard(indexed(process.run), nodes))
    return np.ones(len(nodes)) if low is None else estimate_jaccard(low, low[np.searchsorted(nodes, keeper)])


def _rows_by_shard(shards: Iterator[ShardAt], nodes: NDArray[np.int64]) -> Iterator[tuple[ShardAt, NDArray[np.int64]]]:
    for shard in shards:
        rows = nodes[np.searchsorted(nodes, shard.first) : np.searchsorted(nodes, shard.first + shard.rows)]
        if len(rows):
            yield shard, rows - shard.first


def origins_of(run: Run, numbers: NDArray[np.int64]) -> pa.Array:
    """`source/path#row` of documents by their numbers, int64[n] in any order; the list of shards streams by."""
    wanted = np.unique(numbers)
    parts = [pa.array([], pa.string())]
    for shard, rows in _rows_by_shard(indexed(run), wanted):
        parts.append(pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), pa.array(rows).cast(pa.string()), ""))
    return pa.concat_arrays(parts).take(pa.array(np.searchsorted(wanted, numbers)))


def dropped_by(elected: Sequence[Elected]) -> NDArray[np.int64]:
    """Documents that any of these steps does not keep, ascending."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(one.nodes[~one.keep] for one in elected)]))
