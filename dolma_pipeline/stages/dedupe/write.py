"""The columns of dedupe steps, a file a shard, a task a block; closes the artifacts `attributes/<step>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed, names
from dolma_pipeline.stages.dedupe.elect import Elect


@dataclass(frozen=True)
class WriteMarks(Phase):
    """Writes what the election decided.

    Args:
        elect: the phase that decided it. Artifacts: those of the steps, in order.
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

    @property
    def makes(self) -> frozenset[str]:
        """`attributes/<step>` of all steps."""
        return frozenset(artifact.name for artifact in self.artifacts)

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards, each with the numbers of the shards' first documents."""
        for block in blocks(indexed(run)):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Write the columns of one block."""
        block: Block = task.payload
        steps = [artifact.name.rpartition("/")[2] for artifact in self.artifacts]
        files = process.kept(("elected files", self.digest), lambda: self._files(process.run))
        records: dict[str, list[dict[str, Any]]] = {artifact.name: [] for artifact in self.artifacts}
        dropped: dict[str, NDArray[np.int64]] = {}
        before = np.zeros(0, np.int64)
        for step in files:
            table = _table(process, files[step]["elected"])
            away = table.column("nodes").to_numpy()[~table.column("keep").to_numpy()]
            before = dropped[step] = np.union1d(before, _between(away, block))
        for step, artifact in zip(steps, self.artifacts, strict=True):
            elected, groups = (_table(process, files[step][what]) for what in ("elected", "groups"))
            for shard in block.shards:
                records[artifact.name].append(self._write(process, artifact, shard, elected, groups, dropped[step]))
        return Work(records, documents=block.rows)

    def _files(self, run: Run) -> dict[str, dict[str, str]]:
        assert self.elect is not None
        (record,) = read_records(run, self.elect, self.elect.tasks(run))
        found: dict[str, dict[str, str]] = record["more"]["files"]
        steps = [step.name for step in (run.recipe.dedupe.steps if run.recipe.dedupe else ())]
        return {step: found[step] for step in steps}

    def _write(
        self,
        process: Process,
        artifact: Artifact,
        shard: ShardAt,
        elected: pa.Table,
        groups: pa.Table,
        dropped: NDArray[np.int64],
    ) -> dict[str, Any]:
        step = artifact.name.rpartition("/")[2]
        column = marks(process, shard, elected, groups)
        name = layout.attributes(step, shard.name)
        with process.run.folder.committing(name) as file:
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

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifests."""
        made: dict[str, list[Any]] = {artifact.name: [] for artifact in self.artifacts}
        for record in records:
            for name, found in record["records"].items():
                made[name].extend(found)
        expected = names(run)
        for artifact in self.artifacts:
            close(run.folder, artifact, made[artifact.name], shards_digest=run.shards_digest, expected=expected)


def _table(process: Process, name: str) -> pa.Table:
    return process.kept(("table", name), lambda: get_table(process.run.folder, name))


def _between(numbers: NDArray[np.int64], block: Block) -> NDArray[np.int64]:
    first = block.shards[0].first
    return numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, first + block.rows)]


def marks(process: Process, shard: ShardAt, elected: pa.Table, groups: pa.Table) -> pa.StructArray:
    """A step's column for the documents of one shard (`DEDUPE_TYPE`)."""
    own = origins_of_rows(shard)
    if shard.rows == 0:
        return pa.array([], DEDUPE_TYPE)
    mine, together = _rows_of(elected, "nodes", shard), _rows_of(groups, "node", shard)
    rows = mine.column("nodes").to_numpy() - shard.first
    columns: dict[str, Any] = {
        "cluster": _with(process, own, rows, mine.column("keeper").to_numpy()),
        "group": _with(
            process, own, together.column("node").to_numpy() - shard.first, together.column("label").to_numpy()
        ),
    }
    defaults = {"size": np.int64(1), "rank": np.int64(0), "keep": np.bool_(True), "jaccard": np.float64(1)}
    for name, default in defaults.items():
        values = np.full(shard.rows, default)
        values[rows] = mine.column(name).to_numpy()
        columns[name] = pa.array(values)
    return pa.StructArray.from_arrays([columns[field.name] for field in DEDUPE_TYPE], fields=list(DEDUPE_TYPE))


def origins_of_rows(shard: ShardAt) -> pa.Array:
    """`source/path#row` of every document of a shard."""
    rows = pa.array(np.arange(shard.rows)).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), rows, "")


def _rows_of(table: pa.Table, column: str, shard: ShardAt) -> pa.Table:
    begin, end = np.searchsorted(table.column(column).to_numpy(), [shard.first, shard.first + shard.rows])
    return table.slice(begin, end - begin)


def _with(process: Process, own: pa.Array, rows: NDArray[np.int64], others: NDArray[np.int64]) -> pa.Array:
    """`own` with the origins of other documents in some rows."""
    if len(rows) == 0:
        return own
    mask = np.zeros(len(own), np.bool_)
    mask[rows] = True
    found = origins(process, others)
    return pc.replace_with_mask(own, pa.array(mask), pa.array(found, pa.string()))


def origins(process: Process, numbers: NDArray[np.int64]) -> list[str]:
    """`source/path#row` of documents by their numbers."""

    def read() -> tuple[list[str], NDArray[np.int64]]:
        found = [(shard.name, shard.first) for shard in indexed(process.run) if shard.rows]
        return [name for name, _ in found], np.array([first for _, first in found], np.int64)

    shards, firsts = process.kept("firsts", read)
    owner = np.searchsorted(firsts, numbers, side="right") - 1
    places = zip(owner.tolist(), (numbers - firsts[owner]).tolist(), strict=True)
    return [f"{shards[o]}#{row}" for o, row in places]
