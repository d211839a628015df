"""The pairs of the first round of each election, and how like they are: found by many workers before one elects.

Most pairs are of the first round. Which they are follows from order, rules and buckets (one task, no sets); comparing
them is spread. Later rounds concern only buckets whose leader went, and the election compares those pairs itself, as it
does first pairs of a later step that an earlier step has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dolma_pipeline.dedup.settled import Settled, nothing_settled
from dolma_pipeline.dedup.stars import firsts_of, leading_pairs, ranks
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import OneTask, Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.candidates import Candidates, candidates_of
from dolma_pipeline.stages.dedupe.election import Near, near_of
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.likeness import Known, Likeness
from dolma_pipeline.stages.dedupe.steps import electing_steps

PAIRS_A_TASK = 1 << 19


@dataclass(frozen=True)
class FirstPairs(OneTask):
    """Leaders and members of the first round.

    Args:
        candidates: the phase that looked at the documents.
    """

    candidates: Candidates | None = None

    @property
    def name(self) -> str:
        """`dedupe/pairs`."""
        return "dedupe/pairs"

    @property
    def needs(self) -> frozenset[str]:
        """The candidates."""
        return frozenset({"dedupe/candidates"})

    def work(self, process: Process, task: Task) -> Work:
        """Pair; `more` names the file of each step that is verified, and its pairs."""
        assert self.candidates is not None
        run = process.run
        looked = candidates_of(process, self.candidates)
        nodes, passes, place = looked.nodes, looked.passes, looked.place
        found = {}
        for step in electing_steps(run.recipe):
            if not kind_of(step).verified:
                continue
            near = near_of(run, step.name, step.threshold)
            at = np.searchsorted(nodes, near.nodes)
            before = looked.earlier.get(step.name)
            table = first_pairs(near, passes[at], place[at], before.at(near.nodes) if before else None)
            name = layout.cache("pairs", digest([self.digest, run.shards_digest]), f"first/{step.name}.parquet")
            put_table(run.folder, name, table)
            found[step.name] = {"file": name, "pairs": table.num_rows}
        return Work(more={"steps": found}, files=[one["file"] for one in found.values()])


def first_pairs(near: Near, candidate: np.ndarray, place: np.ndarray, settled: Settled | None = None) -> pa.Table:
    """`left` and `right` of the first round, by number, sorted; candidate, place: of `near.nodes`. settled: what is
    decided of them already: what went leads nobody, and nothing of it is compared with what leads."""
    settled = settled or nothing_settled(len(near.nodes))
    rank = ranks(candidate, place, settled)
    home = np.searchsorted(near.nodes, near.home)
    entries = rank[firsts_of(home, rank)[np.searchsorted(near.nodes, near.member)]]
    of_rank = np.argsort(rank)
    there = ~settled.gone[of_rank[entries]]
    bucket, entries = near.bucket[there], entries[there]
    order = np.lexsort((entries, bucket))
    bucket, entries = bucket[order], entries[order]
    leader, wanted = leading_pairs(bucket, entries, int(candidate.sum()))
    wanted = wanted[~settled.old[of_rank[entries[wanted]]]]
    pairs = np.stack([near.home[of_rank[leader[wanted]]], near.home[of_rank[entries[wanted]]]], axis=1)
    pairs = np.unique(pairs, axis=0)
    return pa.table({"left": pairs[:, 0], "right": pairs[:, 1]})


@dataclass(frozen=True)
class Verify(Phase):
    """Compares the pairs of the first round; a task some of them.

    Args:
        pairs: the phase that found them.
    """

    pairs: FirstPairs | None = None

    @property
    def name(self) -> str:
        """`dedupe/verify`."""
        return "dedupe/verify"

    @property
    def needs(self) -> frozenset[str]:
        """The pairs."""
        return frozenset({"dedupe/pairs"})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Pairs of a step, by their leaders; the key is `<step>/<number>`."""
        assert self.pairs is not None
        (record,) = read_records(run, self.pairs, self.pairs.tasks(run))
        for step, found in record["more"]["steps"].items():
            for number, first in enumerate(range(0, found["pairs"], PAIRS_A_TASK)):
                count = min(PAIRS_A_TASK, found["pairs"] - first)
                yield Task(f"{step}/{number:05d}", count, (found["file"], first, count))

    def work(self, process: Process, task: Task) -> Work:
        """Compare some pairs; `more` names the file."""
        file, first, count = task.payload
        run, name = process.run, task.key.rpartition("/")[0]
        step = next(one for one in electing_steps(run.recipe) if one.name == name)
        table = get_table(run.folder, file).slice(first, count)
        likeness = Likeness(run, step)(table.column("left").to_numpy(), table.column("right").to_numpy())
        out = layout.cache("pairs", digest([self.digest, run.shards_digest]), f"verified/{task.key}.parquet")
        put_table(run.folder, out, table.append_column("likeness", pa.array(likeness, from_pandas=False)))
        return Work(more={"file": out}, documents=count, files=[out])


def known_pairs(run: Run, verify: Verify) -> dict[str, Known]:
    """Step -> what was compared, of steps that are verified."""
    parts: dict[str, list[pa.Table]] = {}
    for task in verify.tasks(run):
        (record,) = read_records(run, verify, [task])
        parts.setdefault(task.key.rpartition("/")[0], []).append(get_table(run.folder, record["more"]["file"]))
    found = {}
    for step, tables in parts.items():
        whole = pa.concat_tables(tables)
        found[step] = Known(*(whole.column(name).to_numpy() for name in ("left", "right", "likeness")))
    return found
