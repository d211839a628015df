"""dedupe, second half: which document of a cluster stays.

Candidates (a task a shard): of documents that are in a cluster, which may stay (they pass the rules that name no
dedupe step, and every earlier step kept them) and the values that `prefer` orders by. Elect (one task): the
preferred candidate of each cluster; ties go to the smallest origin. Write (a task a shard): the columns.
A cluster with a good copy always keeps one, because copies that the rules would drop are no candidates.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.dedup.components import components
from dolma_pipeline.dedup.keep import elect
from dolma_pipeline.dedup.minhash import estimate_jaccard
from dolma_pipeline.io.attributes import AttributeWriter
from dolma_pipeline.io.manifest import output_record
from dolma_pipeline.io.tables import write_table
from dolma_pipeline.sql.columns import RESERVED
from dolma_pipeline.stages.columns import DEDUPE_TYPE, RowReader
from dolma_pipeline.stages.context import Failures, RunContext
from dolma_pipeline.stages.dedupe import (
    counts_of,
    dense_offsets,
    members_path,
    num_rows_of,
    signature_path,
    step_config,
)
from dolma_pipeline.stages.rules import preferred, source_rules
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.units import Unit


def work_folder(context: RunContext) -> Path:
    """What the election works with; goes when it is over. No dedupe step can be called like it."""
    return context.path / "dedupe" / ".elect"


def _elected_path(context: RunContext, step: str) -> Path:
    return work_folder(context) / "elected" / f"{step}.parquet"


def all_steps(context: RunContext) -> list[str]:
    """Names of the recipe's dedupe steps, in order."""
    return [step.name for step in context.recipe.dedupe.steps] if context.recipe.dedupe else []


def _groups_path(context: RunContext, step: str) -> Path:
    return work_folder(context) / "groups" / f"{step}.parquet"


def read_once(path: Path) -> pa.Table:
    """A small table that many tasks of a process read."""
    return _read_once(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read_once(path: str, changed: int) -> pa.Table:
    return pq.read_table(path)


def shard_members(context: RunContext, step: str, shard: str) -> NDArray[np.int64]:
    """Rows of a shard that are in a cluster, ascending."""
    nodes = read_once(members_path(context, step)).column("node").to_numpy()
    first = dense_offsets(context, step)[shard]
    last = first + num_rows_of(context, step)[shard]
    rows: NDArray[np.int64] = nodes[np.searchsorted(nodes, first) : np.searchsorted(nodes, last)] - first
    return rows


@dataclass(frozen=True)
class CandidateStep(Step):
    """Of the documents that are in a cluster of any step: do they pass the rules, and their place in the order."""

    @property
    def name(self) -> str:
        """`dedupe/candidates`."""
        return "dedupe/candidates"

    def _path(self, shard: str) -> Path:
        return work_folder(self.context) / "candidates" / f"{shard}.parquet"

    def tasks(self) -> list[Task]:
        """Shards whose candidates are not written."""
        return [Task(s.name, s.bytes) for s in self.context.shards() if not self._path(s.name).is_file()]

    def work(self, task: Task) -> None:
        """Look at the clustered documents of one shard."""
        context, shard = self.context, self.context.shard(task.key)
        members = [shard_members(context, step, shard.name) for step in all_steps(context)]
        rows = np.unique(np.concatenate([np.zeros(0, np.int64), *members]))
        order = preferred(context, shard.source)
        values: list[pa.Table] = []
        passes: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
        if len(rows):
            rules = source_rules(context, shard.source, without=tuple(all_steps(context)))
            wanted = {*rules.judge_columns, *(set(order.columns) - set(RESERVED))}
            narrow = {column: names for column, names in rules.fields.items() if column not in order.columns}
            failures = Failures(context, "dedupe", shard)  # the same lines as when signing; written there
            for batch, table in RowReader(context, shard, sorted(wanted), failures, fields=narrow):
                mine = rows[(rows >= batch.first_row) & (rows < batch.first_row + len(batch))] - batch.first_row
                if len(mine):
                    table = table.take(pa.array(mine))
                    texts = rules.edit(table)[0] if rules.min_chars else table.column("text")
                    passes.append(rules.judge(table, texts).passed)
                    values.append(order.values(table))
                self.progress(len(batch), int(batch.text.offsets[-1] - batch.text.offsets[0]))
        ordered = pa.concat_tables([order.schema.empty_table(), *values])
        columns = {name: ordered.column(name) for name in order.schema.names}  # none, if ties alone decide
        columns |= {"row": pa.array(rows, pa.int64()), "passes": pa.array(np.concatenate(passes))}
        write_table(self._path(shard.name), pa.table(columns))


@dataclass(frozen=True)
class ElectStep(Step):
    """The keeper of each cluster, step by step; in memory: ~200 bytes a clustered document."""

    @property
    def name(self) -> str:
        """`dedupe/elect`."""
        return "dedupe/elect"

    @property
    def spread(self) -> bool:
        """No: the steps depend on each other."""
        return False

    def tasks(self) -> list[Task]:
        """Dedupe steps that are not decided, in order."""
        return [Task(step) for step in all_steps(self.context) if not _elected_path(self.context, step).is_file()]

    def work(self, task: Task) -> None:
        """Elect in one step, among those whom all earlier ones kept."""
        context, step = self.context, task.key
        members = read_once(members_path(context, step))
        nodes, labels = members.column("node").to_numpy(), members.column("label").to_numpy()
        self._group(step)
        looked_at = self._candidates()
        mine = looked_at.take(pa.array(np.searchsorted(looked_at.column("node").to_numpy(), nodes)))
        candidate = mine.column("passes").to_numpy().copy()
        for earlier in all_steps(context)[: all_steps(context).index(step)]:
            decided = pq.read_table(_elected_path(context, earlier), columns=["node", "keep"])
            dropped = decided.column("node").to_numpy()[~decided.column("keep").to_numpy()]
            candidate &= ~np.isin(nodes, dropped)
        order = preferred(context, context.shards()[0].source)
        sequence = order.order(mine.drop_columns(["node", "row", "passes"]))
        place = np.empty(len(sequence), np.int64)
        place[sequence] = np.arange(len(sequence))
        size, rank, keep = elect(labels, candidate, place)
        firsts = np.flatnonzero(rank == 0)
        firsts = firsts[np.argsort(labels[firsts])]
        keeper = nodes[firsts[np.searchsorted(labels[firsts], labels)]]
        table = members.append_column("size", pa.array(size)).append_column("rank", pa.array(rank))
        jaccard = pa.array(self._jaccard(step, nodes, keeper))
        table = table.append_column("keep", pa.array(keep)).append_column("jaccard", jaccard)
        write_table(_elected_path(context, step), table, compression="zstd")

    def _group(self, step: str) -> None:
        """Write what this step and the earlier ones connect, taken together."""
        steps = all_steps(self.context)
        edges = [np.zeros((0, 2), np.int64)]
        for one in steps[: steps.index(step) + 1]:
            members = read_once(members_path(self.context, one))
            edges.append(np.stack([members.column("label").to_numpy(), members.column("node").to_numpy()], axis=1))
        nodes, labels = components(np.concatenate(edges))
        write_table(_groups_path(self.context, step), pa.table({"node": nodes, "label": labels}), compression="zstd")

    def _candidates(self) -> pa.Table:
        """The clustered documents of all shards, by dense number."""
        context = self.context
        parts = []
        for shard, first in dense_offsets(context, all_steps(context)[0]).items():
            part = pq.read_table(work_folder(context) / "candidates" / f"{shard}.parquet")
            parts.append(part.append_column("node", pa.array(part.column("row").to_numpy() + first)))
        return pa.concat_tables(parts)

    def _jaccard(self, step: str, nodes: NDArray[np.int64], keeper: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated likeness of each clustered document to the first of its cluster."""
        if step_config(self.context, step).kind == "exact":
            return np.ones(len(nodes))
        low = list(self._low_bytes(step))
        all_low = np.concatenate(low) if low else np.zeros((0, 1), np.uint8)
        return estimate_jaccard(all_low, all_low[np.searchsorted(nodes, keeper)])

    def _low_bytes(self, step: str) -> Iterator[NDArray[np.uint8]]:
        for shard in dense_offsets(self.context, step):
            rows = shard_members(self.context, step, shard)
            if len(rows) == 0:
                continue
            table = pq.read_table(signature_path(self.context, step, shard), columns=["row", "low"])
            low = table.column("low").combine_chunks()
            data = np.frombuffer(low.buffers()[1], np.uint8).reshape(-1, low.type.byte_width)
            yield data[np.searchsorted(table.column("row").to_numpy(), rows)]


@dataclass(frozen=True)
class KeepStep(Step):
    """The columns of dedupe steps, a file a shard; closes the units `attributes/<step>`."""

    units: tuple[Unit, ...] = ()
    keep_work: bool = False

    @property
    def name(self) -> str:
        """`dedupe/write`."""
        return "dedupe/write"

    def _missing(self, shard: str) -> list[str]:
        return [u.name.split("/")[1] for u in self.units if not self.context.records(u.name).has(shard)]

    def tasks(self) -> list[Task]:
        """Shards of which a column is not written."""
        return [Task(s.name, s.bytes) for s in self.context.shards() if self._missing(s.name)]

    def work(self, task: Task) -> None:
        """Write the columns of one shard."""
        for step in self._missing(task.key):
            self._write(step, task.key)

    def _write(self, step: str, shard: str) -> None:
        context, offsets = self.context, dense_offsets(self.context, step)
        first, num_rows = offsets[shard], num_rows_of(context, step)[shard]
        mine = _between(read_once(_elected_path(context, step)), first, first + num_rows)
        together = _between(read_once(_groups_path(context, step)), first, first + num_rows)
        rows = mine.column("node").to_numpy() - first
        own: Any = np.array([f"{shard}#{row}" for row in range(num_rows)], object)
        clusters, groups = own.copy(), own
        clusters[rows] = _origins(offsets, mine.column("label").to_numpy())
        groups[together.column("node").to_numpy() - first] = _origins(offsets, together.column("label").to_numpy())
        columns: dict[str, Any] = {
            "cluster": clusters,
            "group": groups,
            "size": np.ones(num_rows, np.int64),
            "rank": np.zeros(num_rows, np.int64),
            "keep": np.ones(num_rows, np.bool_),
            "jaccard": np.ones(num_rows, np.float64),
        }
        for name in ("size", "rank", "keep", "jaccard"):
            columns[name][rows] = mine.column(name).to_numpy()
        arrays = [pa.array(columns[field.name], field.type) for field in DEDUPE_TYPE]
        struct = pa.StructArray.from_arrays(arrays, fields=list(DEDUPE_TYPE))
        path = context.attribute_path(step, shard)
        with AttributeWriter(path, step, DEDUPE_TYPE) as writer:
            writer.write_column(struct)
        kept, failed = int(columns["keep"].sum()), counts_of(context, step)[shard]["failed"]
        context.records(f"attributes/{step}").write(
            shard,
            {
                "inputs": [],
                "outputs": [output_record(context.attribute_folder(step), path, rows=num_rows)],
                "counts": {
                    "in": num_rows + failed,
                    "kept": kept,
                    "dropped": num_rows - kept,
                    "failed": failed,
                    "dropped_so_far": self._dropped_so_far(step, first, first + num_rows),
                },
            },
        )

    def _dropped_so_far(self, step: str, first: int, last: int) -> int:
        """Documents from `first` to before `last` that this step or an earlier one does not keep."""
        dropped = [np.zeros(0, np.int64)]
        for one in all_steps(self.context)[: all_steps(self.context).index(step) + 1]:
            mine = _between(read_once(_elected_path(self.context, one)), first, last)
            dropped.append(mine.column("node").to_numpy()[~mine.column("keep").to_numpy()])
        return len(np.unique(np.concatenate(dropped)))

    def finish(self) -> None:
        """Write the manifests and drop what the election needed."""
        for unit in self.units:
            self.context.records(unit.name).finish(unit.manifest_fields(self.context))
        if not self.keep_work:
            shutil.rmtree(work_folder(self.context), ignore_errors=True)


def _between(table: pa.Table, first: int, last: int) -> pa.Table:
    """The rows of a table, sorted by node, of the nodes from `first` to before `last`."""
    begin, end = np.searchsorted(table.column("node").to_numpy(), [first, last])
    return table.slice(begin, end - begin)


def _origins(offsets: dict[str, int], nodes: NDArray[np.int64]) -> list[str]:
    names, starts = list(offsets), np.fromiter(offsets.values(), np.int64)
    owner = np.searchsorted(starts, nodes, side="right") - 1
    return [f"{names[o]}#{n - starts[o]}" for o, n in zip(owner.tolist(), nodes.tolist(), strict=True)]
