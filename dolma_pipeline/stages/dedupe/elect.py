"""Who stays of duplicates, all steps in order: one task, from columns and sets alone.

A document goes only for one that passes the rules and stays. A cluster with a good copy always keeps one, because
copies that the rules would drop are not candidates. In memory: ~300 bytes a document that has a key in common with
another one, 24 a compared pair, and the sets of one piece of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.dedup.stars import Compare
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import OneTask, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.dedupe.candidates import Candidates, candidates_of
from dolma_pipeline.stages.dedupe.election import Members, elections, near_of
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.likeness import Known, Likeness, rows_by_shard
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.dedupe.verify import Verify, known_pairs


@dataclass(frozen=True)
class Elect(OneTask):
    """Who stays, step by step; one task.

    Args:
        candidates: the phase that looked at the documents. verify: the one that compared the first pairs.
    """

    candidates: Candidates | None = None
    verify: Verify | None = None

    @property
    def name(self) -> str:
        """`dedupe/elect`."""
        return "dedupe/elect"

    @property
    def needs(self) -> frozenset[str]:
        """The candidates, and the first pairs compared."""
        return frozenset({"dedupe/candidates", "dedupe/verify"})

    def work(self, process: Process, task: Task) -> Work:
        """Elect in all steps, in order; `more` names the files of each step, and has the rounds of those verified."""
        assert self.candidates is not None
        assert self.verify is not None
        run = process.run
        nodes, passes, place = candidates_of(process, self.candidates)
        known = known_pairs(run, self.verify)
        members, compare = members_of(run), comparing(run, known)
        files: dict[str, dict[str, str]] = {}
        rounds: dict[str, dict[str, Any]] = {}
        base = digest([self.digest, run.shards_digest])
        for step, elected in elections(members, nodes, passes, place, compare):
            table = pa.table({**elected.columns(), "cluster": origins_of(run, elected.keeper)})
            names = {what: layout.cache("elected", base, f"{what}/{step}.parquet") for what in ("elected", "groups")}
            put_table(run.folder, names["elected"], table, compression="zstd")
            groups = pa.table({"node": elected.group_nodes, "group": origins_of(run, elected.group_labels)})
            put_table(run.folder, names["groups"], groups, compression="zstd")
            files[step] = names
            if step in compare:
                rounds[step] = {"rounds": elected.rounds, "stopped": elected.stopped}
        return Work(
            more={"files": files, "rounds": rounds}, files=[name for names in files.values() for name in names.values()]
        )


def members_of(run: Run) -> dict[str, Members]:
    """What each dedupe step knows, in order."""
    found: dict[str, Members] = {}
    for step in electing_steps(run.recipe):
        if kind_of(step).verified:
            found[step.name] = near_of(run, step.name, step.threshold)
        else:
            table = get_table(run.folder, layout.members(step.name))
            found[step.name] = table.column("node").to_numpy(), table.column("label").to_numpy()
    return found


def comparing(run: Run, known: Mapping[str, Known]) -> dict[str, Compare]:
    """How steps that are verified compare documents; known: step -> what was compared before."""
    steps = [step for step in electing_steps(run.recipe) if kind_of(step).verified]
    return {step.name: Likeness(run, step, known.get(step.name, Known())) for step in steps}


def origins_of(run: Run, numbers: NDArray[np.int64]) -> pa.Array:
    """`source/path#row` of documents by their numbers, int64[n] in any order; the list of shards streams by."""
    wanted = np.unique(numbers)
    parts = [pa.array([], pa.string())]
    for shard, rows in rows_by_shard(indexed(run), wanted):
        parts.append(pc.binary_join_element_wise(pa.scalar(f"{shard.name}#"), pa.array(rows).cast(pa.string()), ""))
    return pa.concat_arrays(parts).take(pa.array(np.searchsorted(wanted, numbers)))
