"""The columns of dedupe steps, a file a shard, a task a block; each file is read back when it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.tables import get_range, get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt
from dolma_pipeline.stages.dedupe.earlier import arrived, new_shards
from dolma_pipeline.stages.dedupe.elect import Elect
from dolma_pipeline.stages.dedupe.origins import origins_of_rows
from dolma_pipeline.stages.dedupe.steps import electing_steps


@dataclass(frozen=True)
class WriteMarks(Phase):
    """Writes what the election decided.

    Args:
        elect: the phase that decided it. Artifacts: those of the steps, in order.

    Files of shards whose verdicts stand are left as they are.
    """

    elect: Elect | None = None

    @property
    def name(self) -> str:
        """`dedupe/write`."""
        return "dedupe/write"

    @property
    def needs(self) -> frozenset[str]:
        """The election."""
        return frozenset({"dedupe/elect"})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards, each with the numbers of the shards' first documents."""
        return arrived(run, self, self.artifacts)

    def work(self, process: Process, task: Task) -> Work:
        """Write the columns of one block; `more.read_back` names, by step, what went by the written files."""
        block, old = task.payload.block, task.payload.old
        artifacts = {artifact.name.rpartition("/")[2]: artifact for artifact in self.artifacts}
        files = process.kept(("elected files", self.digest), lambda: self._files(process.run))
        records: dict[str, list[dict[str, Any]]] = {artifact.name: [] for artifact in self.artifacts}
        dropped = np.zeros(0, np.int64)
        read: dict[str, str] = {}
        for step, names_of_step in files.items():
            elected, groups = (_of_block(process.run, names_of_step[what], block) for what in ("elected", "groups"))
            away = elected.column("node").to_numpy()[~elected.column("keep").to_numpy()]
            dropped = np.union1d(dropped, away)
            if (artifact := artifacts.get(step)) is not None:
                for shard in new_shards(block.shards, old.get(step, ())):
                    records[artifact.name].append(self._write(process.run, artifact, shard, elected, groups, dropped))
            base = digest([self.digest, process.run.shards_digest])
            read[step] = layout.cache("elected", base, f"written/{step}/{block.key}.parquet")
            put_table(process.run.folder, read[step], read_back(process.run, step, block))
        return Work(records, more={"read_back": read}, documents=block.rows, files=[*read.values()])

    def _files(self, run: Run) -> dict[str, dict[str, str]]:
        assert self.elect is not None
        (record,) = read_records(run, self.elect, self.elect.tasks(run))
        found: dict[str, dict[str, str]] = record["more"]["files"]
        steps = [step.name for step in electing_steps(run.recipe)]
        return {step: found[step] for step in steps}

    def _write(
        self,
        run: Run,
        artifact: Artifact,
        shard: ShardAt,
        elected: pa.Table,
        groups: pa.Table,
        dropped: NDArray[np.int64],
    ) -> dict[str, Any]:
        step = artifact.name.rpartition("/")[2]
        column = marks(shard, elected, groups)
        name = layout.attributes(step, shard.name)
        with run.folder.committing(name) as file:
            writer = attribute_writer(file, step, DEDUPE_TYPE)
            writer.write_column(column)
            writer.close()
        kept = int(pc.sum(column.field("keep")).as_py() or 0)
        so_far = np.searchsorted(dropped, [shard.first, shard.first + shard.rows])
        return {
            "shard": shard.name,
            "inputs": [],
            "outputs": [output_record(artifact, name, file, rows=shard.rows)],
            "counts": {
                "in": shard.rows + shard.failed,
                "kept": kept,
                "dropped": shard.rows - kept,
                "failed": shard.failed,
                "dropped_so_far": int(so_far[1] - so_far[0]),
            },
        }


def read_back(run: Run, step: str, block: Block) -> pa.Table:
    """What went of a block's documents, by the files of a step's column: `node`, `cluster`, `jaccard`.

    Raises:
        DataError: a file is of other documents, or a document that stays is of another one's cluster.
    """
    parts = [pa.table({"node": pa.array([], pa.int64()), "cluster": pa.array([], pa.string()),
                       "jaccard": pa.array([], pa.float64())})]  # fmt: skip
    for shard in block.shards:
        name = layout.attributes(step, shard.name)
        column = get_table(run.folder, name, [step]).column(step).combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        fault = "This is a fault of the program. Please report it."
        if len(column) != shard.rows or column.null_count:
            raise DataError(f"{run.folder.url}/{name}: {len(column)} rows of {shard.rows} documents. {fault}")
        keep = column.field("keep").to_numpy(zero_copy_only=False)
        strange = np.flatnonzero(keep & pc.not_equal(column.field("cluster"), origins_of_rows(shard)).to_numpy(False))
        if len(strange):
            raise DataError(f"{shard.name}#{strange[0]}: stays, but is in the cluster of another document. {fault}")
        gone = np.flatnonzero(~keep)
        some = [column.field(field).take(pa.array(gone)) for field in ("cluster", "jaccard")]
        parts.append(pa.table({"node": gone + shard.first, "cluster": some[0], "jaccard": some[1]}))
    return pa.concat_tables(parts)


def _of_block(run: Run, name: str, block: Block) -> pa.Table:
    """The rows of a table of the election that are of a block's documents: none holds more than its own."""
    first = block.shards[0].first
    return get_range(run.folder, name, "node", first, first + block.rows)


def marks(shard: ShardAt, elected: pa.Table, groups: pa.Table) -> pa.StructArray:
    """A step's column for the documents of one shard (`DEDUPE_TYPE`)."""
    if shard.rows == 0:
        return pa.array([], DEDUPE_TYPE)
    own = origins_of_rows(shard)
    mine, together = _rows_of(elected, shard), _rows_of(groups, shard)
    rows = mine.column("node").to_numpy() - shard.first
    columns: dict[str, Any] = {
        "cluster": _with(own, mine, shard, "cluster"),
        "group": _with(own, together, shard, "group"),
    }
    defaults = {"size": np.int64(1), "rank": np.int64(0), "keep": np.bool_(True), "jaccard": np.float64(1)}
    for name, default in defaults.items():
        values = np.full(shard.rows, default)
        values[rows] = mine.column(name).to_numpy()
        columns[name] = pa.array(values, from_pandas=True)  # NaN is a likeness that nobody knows
    return pa.StructArray.from_arrays([columns[field.name] for field in DEDUPE_TYPE], fields=list(DEDUPE_TYPE))


def _rows_of(table: pa.Table, shard: ShardAt) -> pa.Table:
    begin, end = np.searchsorted(table.column("node").to_numpy(), [shard.first, shard.first + shard.rows])
    return table.slice(begin, end - begin)


def _with(own: pa.Array, others: pa.Table, shard: ShardAt, name: str) -> pa.Array:
    """`own` with a column of `others` in the place of their documents."""
    if len(others) == 0:
        return own
    mask = np.zeros(len(own), np.bool_)
    mask[others.column("node").to_numpy() - shard.first] = True
    return pc.replace_with_mask(own, pa.array(mask), others.column(name).combine_chunks())
