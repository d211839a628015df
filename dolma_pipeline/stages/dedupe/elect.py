"""Who stays of duplicates, all steps in order: one task, from columns and sets alone.

A document goes only for one that passes the rules and stays. A cluster with a good copy always keeps one, because
copies that the rules would drop are not candidates. In memory: ~300 bytes a document that has a key in common with
another one, 24 a compared pair, and the sets of one piece of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.phase import OneTask, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.candidates import Candidates, candidates_of
from dolma_pipeline.stages.dedupe.earlier import Earlier
from dolma_pipeline.stages.dedupe.election import Elected, Members, Near, elections, near_of
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.likeness import Known, Likeness
from dolma_pipeline.stages.dedupe.looks import BY_ESTIMATE, Recorded, looks_of
from dolma_pipeline.stages.dedupe.origins import origins_of
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
        """Elect in all steps, in order; `more` names the files of each step, and has its looks and rounds."""
        assert self.candidates is not None
        assert self.verify is not None
        run = process.run
        looked = candidates_of(process, self.candidates)
        nodes, shingles = looked.nodes, looked.shingles
        known = known_pairs(run, self.verify)
        members = members_of(run)
        likeness = comparing(run, known)
        compare = {step: Recorded(one) for step, one in likeness.items()}
        files: dict[str, dict[str, str]] = {}
        rounds: dict[str, dict[str, Any]] = {}
        looks: dict[str, dict[str, Any]] = {}
        settings = {step.name: step for step in electing_steps(run.recipe)}
        base = digest([self.digest, run.shards_digest])
        told: dict[str, dict[str, int]] = {}
        for step, found in elections(members, nodes, looked.passes, looked.place, compare, looked.earlier):
            elected = found
            if step in compare:
                elected = without_guesses(found, members[step], likeness[step], looked.earlier.get(step))
            table = pa.table({**elected.columns(), "cluster": origins_of(run, elected.keeper)})
            names = {what: layout.cache("elected", base, f"{what}/{step}.parquet") for what in ("elected", "groups")}
            put_table(run.folder, names["elected"], table, compression="zstd")
            groups = pa.table({"node": elected.group_nodes, "group": origins_of(run, elected.group_labels)})
            put_table(run.folder, names["groups"], groups, compression="zstd")
            files[step] = names
            own, more = members[step], dict[str, Any]()
            if step in compare:
                assert isinstance(own, Near)
                rounds[step] = {"rounds": elected.rounds, "stopped": elected.stopped}
                compared = compare.pop(step).known()
                more = {"near": own, "known": compared}
                more["guessed"] = int(likeness[step].by_estimate(compared.left, compared.right).sum())
                more["shingles"] = shingles[step][np.searchsorted(nodes, elected.nodes)]
            before = looked.earlier.get(step)
            looks[step] = looks_of(run, settings[step], elected, before=before, **more)
            if before:
                told[step] = told_earlier(elected, before, looked.counted[step])
        more_of_all = {"files": files, "rounds": rounds, "looks": looks, "earlier": told}
        return Work(more=more_of_all, files=[name for names in files.values() for name in names.values()])


def without_guesses(elected: Elected, members: Members, likeness: Likeness, before: Earlier | None) -> Elected:
    """The outcome, its `jaccard` NaN where signatures alone tell how like a new document is to the one it went for."""
    assert isinstance(members, Near)
    away = np.flatnonzero(~elected.keep)
    if before:
        away = away[~np.isin(elected.nodes[away], before.nodes)]
    homes = [members.home[np.searchsorted(members.nodes, one[away])] for one in (elected.keeper, elected.nodes)]
    jaccard = elected.jaccard.copy()
    jaccard[away[likeness.by_estimate(*homes)]] = np.nan
    return replace(elected, jaccard=jaccard)


def told_earlier(elected: Elected, before: Earlier, counted: Mapping[str, int]) -> dict[str, int]:
    """What a manifest says of earlier documents: how many keep their verdicts, how many documents are new, how many of
    these went, and how many of them for an earlier one; where there are some, how many went by estimate."""
    gone = ~elected.keep & ~np.isin(elected.nodes, before.nodes)
    for_earlier = np.isin(elected.keeper[gone], before.nodes[before.keep])
    guessed = int(np.isnan(elected.jaccard[gone]).sum())
    found = {**counted, "removed": int(gone.sum()), "for_earlier": int(for_earlier.sum())}
    return found | ({BY_ESTIMATE: guessed} if guessed else {})


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


def comparing(run: Run, known: Mapping[str, Known]) -> dict[str, Likeness]:
    """How steps that are verified compare documents; known: step -> what was compared before."""
    steps = [step for step in electing_steps(run.recipe) if kind_of(step).verified]
    return {step.name: Likeness(run, step, known.get(step.name, Known())) for step in steps}
