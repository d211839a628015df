"""The columns of dedupe steps, a file a shard, a task a block; closes the artifacts `attributes/<step>`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.dedup.stars import check_stars
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.tables import get_range, get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed, names
from dolma_pipeline.stages.dedupe.elect import Elect, origins_of
from dolma_pipeline.stages.dedupe.steps import electing_steps


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
        artifacts = {artifact.name.rpartition("/")[2]: artifact for artifact in self.artifacts}
        files = process.kept(("elected files", self.digest), lambda: self._files(process.run))
        records: dict[str, list[dict[str, Any]]] = {artifact.name: [] for artifact in self.artifacts}
        dropped = np.zeros(0, np.int64)
        for step, names_of_step in files.items():
            elected, groups = (_of_block(process.run, names_of_step[what], block) for what in ("elected", "groups"))
            away = elected.column("node").to_numpy()[~elected.column("keep").to_numpy()]
            dropped = np.union1d(dropped, away)
            if (artifact := artifacts.get(step)) is not None:
                for shard in block.shards:
                    records[artifact.name].append(self._write(process.run, artifact, shard, elected, groups, dropped))
        return Work(records, documents=block.rows)

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

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Check that what went has a document that stays in its place, then write the manifests.

        Raises:
            DataError: it has not.
        """
        assert self.elect is not None
        (elected,) = read_records(run, self.elect, self.elect.tasks(run))
        made: dict[str, list[Any]] = {artifact.name: [] for artifact in self.artifacts}
        for record in records:
            for name, found in record["records"].items():
                made[name].extend(found)
        expected, rounds = names(run), elected["more"]["rounds"]
        thresholds = {step.name: step.threshold for step in electing_steps(run.recipe)}
        for step in rounds:
            _check(run, elected["more"]["files"][step]["elected"], thresholds[step])
        for artifact in self.artifacts:
            step = artifact.name.rpartition("/")[2]
            extra = {"election": rounds[step], **_warned(rounds[step])} if step in rounds else None
            close(
                run.folder,
                artifact,
                made[artifact.name],
                shards_digest=run.shards_digest,
                expected=expected,
                extra=extra,
            )


def _check(run: Run, name: str, threshold: float) -> None:
    """Every document that went has a keeper; see `check_stars`."""
    columns = ["node", "keep", "keeper", "jaccard", "candidate", "place"]
    node, keep, keeper, jaccard, candidate, place = (
        column.to_numpy() for column in get_table(run.folder, name, columns).columns
    )
    check_stars(
        node,
        np.where(keep, node, keeper),
        jaccard,
        candidate=candidate,
        place=place,
        threshold=threshold,
        named=lambda number: str(origins_of(run, np.array([number]))[0]),
    )


def _warned(election: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest warns of: an election that ended before nothing more went."""
    if not election["stopped"]:
        return {}
    return {
        "warnings": [
            f"the election was stopped after {election['rounds']} rounds, so some documents may have stayed that are "
            "like another one that stays. More bands of fewer rows find more in each round: docs/deduplication.md."
        ]
    }


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
        columns[name] = pa.array(values)
    return pa.StructArray.from_arrays([columns[field.name] for field in DEDUPE_TYPE], fields=list(DEDUPE_TYPE))


def origins_of_rows(shard: ShardAt) -> pa.Array:
    """`source/path#row` of every document of a shard."""
    rows = pa.array(np.arange(shard.rows)).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), rows, "")


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
