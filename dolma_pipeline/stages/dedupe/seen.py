"""Which documents a step that marks repeats sees, and their places in the order; a task a block of shards.

It sees those that pass the rules that name no dedupe step and that every earlier step has kept: text goes only because
of an earlier place in a document that stays. The order is that of `prefer`; then the source that comes first in the
recipe, then the first seen; but where marks of earlier documents stand (`dedupe.keep: old`) these documents come before
all others, so that nothing is new to them. Without `prefer` a place follows from source and number; with it, one task
sorts the documents that are seen, by the terms of the order: ~60 bytes a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.phase import OneTask, Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt
from dolma_pipeline.stages.dedupe.candidates import SOURCE_PLACE, preferred_places
from dolma_pipeline.stages.dedupe.earlier import arrived
from dolma_pipeline.stages.dedupe.steps import electing_before
from dolma_pipeline.stages.judged import read_passes
from dolma_pipeline.stages.rules import preferred

UNSEEN = -1
"""The place of a document that a step does not see."""
SOURCE_BITS = 44
"""Places without `prefer`: the source's place above these bits, the document's number below."""
NEW_BIT = 62
"""Places without `prefer`: set of documents that are behind all whose marks stand."""
NEW = "new"


@dataclass(frozen=True)
class Seen(Phase):
    """The documents that one step sees.

    Args:
        judged: the verdicts of the rules that name no dedupe step; None where the recipe has no rules.
    """

    step: DedupeStepConfig | None = None
    judged: Artifact | None = None

    @property
    def name(self) -> str:
        """`dedupe/seen/<step>`."""
        assert self.step is not None
        return f"dedupe/seen/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """Whatever the marks are made from."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards."""
        return arrived(run, self, self.artifacts)

    def work(self, process: Process, task: Task) -> Work:
        """Look at one block; `more` names the file: places, or, where there is an order, its terms."""
        assert self.step is not None
        block, old = task.payload.block, task.payload.old.get(self.step.name, frozenset())
        run, first = process.run, block.shards[0].first
        sees = np.ones(block.rows, np.bool_)
        if self.judged is not None:
            sees = np.concatenate([read_passes(run, self.judged, shard) for shard in block.shards])
        earlier = [step.name for step in electing_before(run.recipe, self.step.name)]
        if earlier:
            marks = read_block(process, block, index=(), wanted=dict.fromkeys(earlier, frozenset({"keep"})))
            for name in earlier:
                sees = sees & np.concatenate([_keep(chunk) for chunk in marks.column(name).chunks])
        nodes = np.arange(first, first + block.rows)
        new = np.concatenate([np.full(shard.rows, shard.name not in old) for shard in block.shards])
        source = list(run.recipe.sources).index(block.shards[0].source)
        order = preferred(process, block.shards[0].source)
        if order is None:
            place = np.where(sees, (new.astype(np.int64) << NEW_BIT) + (source << SOURCE_BITS) + nodes, UNSEEN)
            table = pa.table({"place": place})
        else:
            index, wanted = order.split(process, block.shards[0].source)
            rows = np.flatnonzero(sees)
            values = order.order.values(read_block(process, block, index=index, wanted=wanted).take(pa.array(rows)))
            columns = {"node": pa.array(nodes[rows]), "passes": pa.repeat(pa.scalar(True), len(rows))}
            columns[NEW] = pa.array(new[rows])
            columns[SOURCE_PLACE] = pa.repeat(pa.scalar(source, pa.int32()), len(rows))
            table = pa.table({**columns, **dict(zip(values.column_names, values.columns, strict=True))})
        name = layout.cache("repeats", digest([self.digest, run.shards_digest]), f"seen/{block.key}.parquet")
        put_table(run.folder, name, table)
        return Work(more={"file": name}, documents=block.rows, files=[name])


def _keep(column: pa.StructArray) -> NDArray[np.bool_]:
    keep: NDArray[np.bool_] = pc.struct_field(column, "keep").to_numpy(zero_copy_only=False)
    return keep


@dataclass(frozen=True)
class Placed(OneTask):
    """Places by `dedupe.prefer`.

    Args:
        seen: the phase that looked at the documents.
    """

    seen: Seen | None = None

    @property
    def name(self) -> str:
        """`dedupe/placed/<step>`."""
        assert self.seen is not None
        assert self.seen.step is not None
        return f"dedupe/placed/{self.seen.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The documents."""
        assert self.seen is not None
        return frozenset({self.seen.name})

    def work(self, process: Process, task: Task) -> Work:
        """Sort; `more` names the file of each block."""
        assert self.seen is not None
        run = process.run
        tasks = list(self.seen.tasks(run))
        terms = [get_table(run.folder, record["more"]["file"]) for record in read_records(run, self.seen, iter(tasks))]
        if not terms:
            return Work(more={"files": {}})
        seen = pa.concat_tables(terms)
        nodes, places = seen.column("node").to_numpy(), preferred_places(process, seen.drop_columns([NEW]))
        places = places + len(places) * seen.column(NEW).to_numpy().astype(np.int64)
        base = digest([self.digest, run.shards_digest])
        files = {}
        for one in tasks:
            block: Block = one.payload.block
            first = block.shards[0].first
            lo, hi = np.searchsorted(nodes, [first, first + block.rows])
            place = np.full(block.rows, UNSEEN)
            place[nodes[lo:hi] - first] = places[lo:hi]
            files[one.key] = layout.cache("repeats", base, f"placed/{one.key}.parquet")
            put_table(run.folder, files[one.key], pa.table({"place": place}))
        return Work(more={"files": files}, files=list(files.values()))


@dataclass(frozen=True)
class Places:
    """The places of documents, shard by shard.

    Args:
        seen, placed: the phases that made them; placed: None where the recipe has no `prefer`.
    """

    seen: Seen
    placed: Placed | None

    @property
    def last(self) -> str:
        """The name of the phase after which they are there."""
        return self.seen.name if self.placed is None else self.placed.name

    def of_shards(self, run: Run) -> Iterator[tuple[ShardAt, NDArray[np.int64]]]:
        """Every shard with the place of each of its documents, int64; `UNSEEN` of those that the step does not see."""
        files = self._files(run)
        for task in self.seen.tasks(run):
            block: Block = task.payload.block
            places = get_table(run.folder, files(task)).column("place").to_numpy()
            at = 0
            for shard in block.shards:
                yield shard, places[at : at + shard.rows]
                at += shard.rows

    def of_block(self, run: Run, block: Block) -> NDArray[np.int64]:
        """The same of the documents of a block."""
        places: NDArray[np.int64] = get_table(run.folder, self._files(run)(Task(block.key))).column("place").to_numpy()
        return places

    def _files(self, run: Run) -> _Files:
        if self.placed is None:
            return _Files(run, self.seen, {})
        (record,) = read_records(run, self.placed, self.placed.tasks(run))
        return _Files(run, self.seen, record["more"]["files"])


@dataclass(frozen=True)
class _Files:
    run: Run
    seen: Seen
    placed: Mapping[str, str]

    def __call__(self, task: Task) -> str:
        if self.placed:
            return self.placed[task.key]
        (record,) = read_records(self.run, self.seen, [task])
        name: str = record["more"]["file"]
        return name
