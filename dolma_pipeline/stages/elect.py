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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.dedup.keep import elect
from dolma_pipeline.dedup.minhash import estimate_jaccard
from dolma_pipeline.documents import MAX_BATCH_ROWS, SCHEMA
from dolma_pipeline.io.attributes import AttributeWriter
from dolma_pipeline.io.manifest import output_record
from dolma_pipeline.sql import Order
from dolma_pipeline.stages.columns import DEDUPE_TYPE, read_rows, row_schema
from dolma_pipeline.stages.context import Failures, RunContext
from dolma_pipeline.stages.dedupe import (
    dense_offsets,
    members_path,
    num_rows_of,
    signature_path,
    step_config,
    write_table,
)
from dolma_pipeline.stages.rules import SourceRules
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.units import Unit


def _work_folder(context: RunContext, step: str) -> Path:
    return context.path / "dedupe" / step / "elect"


def shard_members(context: RunContext, step: str, shard: str) -> NDArray[np.int64]:
    """Rows of a shard that are in a cluster, ascending."""
    nodes = pq.read_table(members_path(context, step), columns=["node"]).column(0).to_numpy()
    first = dense_offsets(context, step)[shard]
    last = first + num_rows_of(context, step)[shard]
    rows: NDArray[np.int64] = nodes[np.searchsorted(nodes, first) : np.searchsorted(nodes, last)] - first
    return rows


@dataclass(frozen=True)
class CandidateStep(Step):
    """Who may stay, and in which order, of the clustered documents of each shard, for one dedupe step.

    step: its name. earlier: names of the steps before it.
    """

    step: str = ""
    earlier: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`dedupe/candidates/<step>`."""
        return f"dedupe/candidates/{self.step}"

    def _path(self, shard: str) -> Path:
        return _work_folder(self.context, self.step) / "candidates" / f"{shard}.parquet"

    def tasks(self) -> list[Task]:
        """Shards whose candidates are not written."""
        return [Task(s.name, s.bytes) for s in self.context.shards() if not self._path(s.name).is_file()]

    def work(self, task: Task) -> None:
        """Look at the clustered documents of one shard."""
        context, shard = self.context, self.context.shard(task.key)
        rows = shard_members(context, self.step, shard.name)
        assert context.recipe.dedupe is not None
        order = Order(context.recipe.dedupe.prefer, row_schema(context, shard.source))
        values: list[pa.Table] = []
        candidate: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
        if len(rows):
            names = [step.name for step in context.recipe.dedupe.steps]
            rules = SourceRules(context, shard.source, without=names)
            wanted = {*rules.rule_columns, *(set(order.columns) - set(SCHEMA.names)), *self.earlier}
            failures = Failures(context, "dedupe", shard)  # the same lines as when signing; written there
            for batch, table in read_rows(context, shard, sorted(wanted), failures):
                mine = rows[(rows >= batch.first_row) & (rows < batch.first_row + len(batch))] - batch.first_row
                if len(mine) == 0:
                    continue
                table = table.take(pa.array(mine))
                may: NDArray[np.bool_] = np.all(rules.rules.evaluate(table).passed, axis=0)
                for step in self.earlier:
                    keep = pc.struct_field(table.column(step).combine_chunks(), "keep")
                    may &= keep.to_numpy(zero_copy_only=False)
                candidate.append(may)
                values.append(order.values(table))
        ordered = pa.concat_tables(values) if values else order.values(row_schema(context, shard.source).empty_table())
        table = ordered.append_column("row", pa.array(rows, pa.int64()))
        write_table(self._path(shard.name), table.append_column("candidate", pa.array(np.concatenate(candidate))))


@dataclass(frozen=True)
class ElectStep(Step):
    """The keeper of each cluster of one dedupe step; one task, in memory: ~200 bytes a clustered document."""

    step: str = ""

    @property
    def name(self) -> str:
        """`dedupe/elect/<step>`."""
        return f"dedupe/elect/{self.step}"

    def _path(self) -> Path:
        return _work_folder(self.context, self.step) / "elected.parquet"

    def tasks(self) -> list[Task]:
        """The one task, unless done."""
        return [] if self._path().is_file() else [Task("all")]

    def work(self, task: Task) -> None:
        """Elect."""
        context = self.context
        members = pq.read_table(members_path(context, self.step))
        parts = [
            pq.read_table(_work_folder(context, self.step) / "candidates" / f"{shard}.parquet")
            for shard in dense_offsets(context, self.step)
        ]
        looked_at = pa.concat_tables(parts)
        labels = members.column("label").to_numpy()
        assert context.recipe.dedupe is not None
        source = context.shards()[0].source
        order = Order(context.recipe.dedupe.prefer, row_schema(context, source))
        values = looked_at.drop_columns(["row", "candidate"])
        sequence = order.order(values)
        place = np.empty(len(sequence), np.int64)
        place[sequence] = np.arange(len(sequence))
        candidate = looked_at.column("candidate").to_numpy()
        size, rank, keep = elect(labels, candidate, place)
        best = members.column("node").to_numpy()[rank == 0]
        best_of = dict(zip(labels[rank == 0].tolist(), best.tolist(), strict=True))
        keeper = np.array([best_of[label] for label in labels.tolist()], np.int64)
        table = members.append_column("size", pa.array(size)).append_column("rank", pa.array(rank))
        table = table.append_column("keep", pa.array(keep)).append_column(
            "jaccard", pa.array(self._jaccard(members, keeper))
        )
        write_table(self._path(), table, compression="zstd")

    def _jaccard(self, members: pa.Table, keeper: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated likeness of each clustered document to the first of its cluster."""
        nodes = members.column("node").to_numpy()
        if step_config(self.context, self.step).kind == "exact":
            return np.ones(len(nodes))
        low = list(self._low_bytes(nodes))
        all_low = np.concatenate(low) if low else np.zeros((0, 1), np.uint8)
        return estimate_jaccard(all_low, all_low[np.searchsorted(nodes, keeper)])

    def _low_bytes(self, nodes: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        for shard in dense_offsets(self.context, self.step):
            rows = shard_members(self.context, self.step, shard)
            if len(rows) == 0:
                continue
            table = pq.read_table(signature_path(self.context, self.step, shard), columns=["row", "low"])
            low = table.column("low").combine_chunks()
            width = low.type.byte_width
            data = np.frombuffer(low.buffers()[1], np.uint8).reshape(-1, width)
            yield data[np.searchsorted(table.column("row").to_numpy(), rows)]


@dataclass(frozen=True)
class KeepStep(Step):
    """The column of one dedupe step, a file a shard; closes its unit `attributes/<step>`."""

    step: str = ""
    unit: Unit | None = None
    keep_work: bool = False

    @property
    def name(self) -> str:
        """`dedupe/write/<step>`."""
        return f"dedupe/write/{self.step}"

    def tasks(self) -> list[Task]:
        """Shards whose column is not written."""
        records = self.context.records(f"attributes/{self.step}")
        return [Task(s.name) for s in self.context.shards() if not records.has(s.name)]

    def work(self, task: Task) -> None:
        """Write the column of one shard."""
        context, shard = self.context, task.key
        first, num_rows = dense_offsets(context, self.step)[shard], num_rows_of(context, self.step)[shard]
        elected = pq.read_table(_work_folder(context, self.step) / "elected.parquet")
        nodes = elected.column("node").to_numpy()
        mine = elected.slice(
            np.searchsorted(nodes, first), np.searchsorted(nodes, first + num_rows) - np.searchsorted(nodes, first)
        )
        rows = mine.column("node").to_numpy() - first
        clusters: Any = np.array([f"{shard}#{row}" for row in range(num_rows)], object)
        clusters[rows] = _origins(dense_offsets(context, self.step), mine.column("label").to_numpy())
        columns: dict[str, Any] = {
            "cluster": pa.array(clusters, pa.string()),
            "size": np.ones(num_rows, np.int64),
            "rank": np.zeros(num_rows, np.int64),
            "keep": np.ones(num_rows, np.bool_),
            "jaccard": np.ones(num_rows, np.float64),
        }
        for name in ("size", "rank", "keep", "jaccard"):
            columns[name][rows] = mine.column(name).to_numpy()
        arrays = [pa.array(columns[field.name], field.type) for field in DEDUPE_TYPE]
        struct = pa.StructArray.from_arrays(arrays, fields=list(DEDUPE_TYPE))
        path = context.attribute_path(self.step, shard)
        with AttributeWriter(path, self.step, DEDUPE_TYPE) as writer:
            for start in range(0, num_rows, 64 * MAX_BATCH_ROWS):
                writer.write_column(struct.slice(start, 64 * MAX_BATCH_ROWS))
        kept = int(columns["keep"].sum())
        context.records(f"attributes/{self.step}").write(
            shard,
            {
                "inputs": [],
                "outputs": [output_record(context.attribute_folder(self.step), path, rows=num_rows)],
                "counts": {"in": num_rows, "kept": kept, "dropped": num_rows - kept, "failed": 0},
            },
        )

    def finish(self) -> None:
        """Write the manifest and drop what the election needed."""
        assert self.unit is not None
        self.context.records(self.unit.name).finish(self.unit.manifest_fields(self.context))
        if not self.keep_work:
            shutil.rmtree(_work_folder(self.context, self.step), ignore_errors=True)


def _origins(offsets: dict[str, int], nodes: NDArray[np.int64]) -> list[str]:
    names, starts = list(offsets), np.fromiter(offsets.values(), np.int64)
    owner = np.searchsorted(starts, nodes, side="right") - 1
    return [f"{names[o]}#{n - starts[o]}" for o, n in zip(owner.tolist(), nodes.tolist(), strict=True)]
