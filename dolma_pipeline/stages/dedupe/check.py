"""The last check of near-duplicates, of what was written, not of what was decided; closes `attributes/<step>`.

Each task that wrote columns has read them back; here one task holds every document that went, whoever made the mark,
against rules and order as they are asked before any election: its keeper stays, passes, comes earlier and is like it.
For a sample the likeness itself is worked out once more from the sets, and for all that went by estimate the estimate.
~100 bytes a document that went.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup import looks
from dolma_pipeline.dedup.bits import mixed
from dolma_pipeline.dedup.stars import check_stars
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.manifests import close
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import earlier_records, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import names
from dolma_pipeline.stages.dedupe.candidates import Candidates, candidates_of
from dolma_pipeline.stages.dedupe.elect import Elect
from dolma_pipeline.stages.dedupe.election import near_of
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.likeness import Likeness, estimated
from dolma_pipeline.stages.dedupe.looks import BY_ESTIMATE
from dolma_pipeline.stages.dedupe.origins import numbers_of, origins_of
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.dedupe.write import WriteMarks

FAULT = "This is a fault of the program: nothing that was marked in this step is to be relied on. Please report it."
COMPARED_AGAIN = 500
"""Documents that went of which the likeness is worked out again from the sets; drawn by a hash of their numbers."""


@dataclass(frozen=True)
class Check(OneTask):
    """Holds what was written against order, rules and sets.

    Args:
        candidates: who may stay. elect: what was decided. write: what was written.
    """

    candidates: Candidates | None = None
    elect: Elect | None = None
    write: WriteMarks | None = None

    @property
    def name(self) -> str:
        """`dedupe/check`."""
        return "dedupe/check"

    @property
    def needs(self) -> frozenset[str]:
        """The columns."""
        return frozenset({"dedupe/write"})

    @property
    def makes(self) -> frozenset[str]:
        """`attributes/<step>` of all steps."""
        return frozenset(artifact.name for artifact in self.artifacts)

    def work(self, process: Process, task: Task) -> Work:
        """Check; `more` says how many documents of each step that is verified.

        Raises:
            DataError: a document went without one that stays in its place.
        """
        assert self.candidates is not None
        run = process.run
        written = self._written(run)
        looked = candidates_of(process, self.candidates)
        dropped = np.zeros(0, np.int64)
        checked = {}
        for step in electing_steps(run.recipe):
            own = written[step.name]
            gone = own.column("node").to_numpy()
            if kind_of(step).verified:
                near = near_of(run, step.name, step.threshold)
                at = np.searchsorted(looked.nodes, near.nodes)
                candidate = looked.passes[at] & ~np.isin(near.nodes, dropped)
                keepers = numbers_of(run, own.column("cluster").combine_chunks())
                jaccard = own.column("jaccard").to_numpy()
                before = looked.earlier.get(step.name)
                check_written(
                    run,
                    step,
                    near.nodes,
                    gone,
                    keepers,
                    jaccard,
                    candidate=candidate,
                    place=looked.place[at],
                    old=np.isin(near.nodes, before.nodes) if before else None,
                )
                homes = dict(zip(*_homes(near), strict=True))
                exact = ~np.isnan(jaccard)
                again = compare_again(run, step, homes, gone[exact], keepers[exact], jaccard[exact])
                guess_again(run, step, homes, gone[~exact], keepers[~exact])
                checked[step.name] = {"removed": len(gone), "compared_again": again}
            dropped = np.union1d(dropped, gone)
        return Work(more={"checked": checked})

    def _written(self, run: Run) -> dict[str, pa.Table]:
        """Step -> what went of it, as it was read back: by number, ascending."""
        assert self.write is not None
        parts: dict[str, list[pa.Table]] = {}
        for record in read_records(run, self.write, self.write.tasks(run)):
            for step, name in record["more"]["read_back"].items():
                parts.setdefault(step, []).append(get_table(run.folder, name))
        nothing = {"node": pa.array([], pa.int64()), "cluster": pa.array([], pa.string()),
                   "jaccard": pa.array([], pa.float64())}  # fmt: skip
        return {step.name: pa.concat_tables([pa.table(nothing), *parts.get(step.name, [])])
                for step in electing_steps(run.recipe)}  # fmt: skip

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifests."""
        assert self.elect is not None
        assert self.write is not None
        (checked,) = records
        (elected,) = read_records(run, self.elect, self.elect.tasks(run))
        made: dict[str, list[Any]] = {
            one.name: earlier_records(run, one) if one.remembers else [] for one in self.artifacts
        }
        for record in read_records(run, self.write, self.write.tasks(run)):
            for name, found in record["records"].items():
                made[name].extend(found)
        expected = names(run)
        for artifact in self.artifacts:
            step = artifact.name.rpartition("/")[2]
            close(
                run.folder,
                artifact,
                made[artifact.name],
                shards_digest=run.shards_digest,
                expected=expected,
                extra=_told(step, elected["more"], checked["more"]["checked"]),
            )


def _told(step: str, elected: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says beside counts."""
    found: dict[str, Any] = {"looks": elected["looks"][step]}
    if step in elected["earlier"]:
        found[EARLIER] = elected["earlier"][step]
    told = looks.warnings_of(found["looks"])
    if step in elected["rounds"]:
        found |= {"election": elected["rounds"][step], "checked": checked[step]}
        if guessed := found["looks"].get(BY_ESTIMATE):
            told.append(
                f"{guessed['pairs']:,} pairs were judged by the estimate of their signatures, since the text of one "
                f"was gone before its set was made; {guessed['removed']:,} documents are marked as copies so, and "
                "their likeness is NULL. An estimate is wrong of some near the threshold: docs/deduplication.md."
            )
        if found["election"]["stopped"]:
            told.append(
                f"the election was stopped after {found['election']['rounds']} rounds, so some documents may have "
                "stayed that are like another one that stays. More bands of fewer rows find more in each round: "
                "docs/deduplication.md."
            )
    return {**found, **({"warnings": told} if told else {})}


def check_written(
    run: Run,
    step: DedupeStepConfig,
    nodes: NDArray[np.int64],
    gone: NDArray[np.int64],
    keepers: NDArray[np.int64],
    jaccard: NDArray[np.float64],
    *,
    candidate: NDArray[np.bool_],
    place: NDArray[np.int64],
    old: NDArray[np.bool_] | None = None,
) -> None:
    """Every document that went has a keeper; see `check_stars`.

    Args:
        nodes: documents that are in buckets or of the same words as another one, ascending. gone, keepers, jaccard: of
            those that went. candidate, place, old: of `nodes`.

    Raises:
        DataError: one has not.
    """
    at = np.minimum(np.searchsorted(nodes, gone), max(0, len(nodes) - 1))
    strange = gone if len(nodes) == 0 else gone[nodes[at] != gone]
    if len(strange):
        raise DataError(
            f"{origins_of(run, strange[:1])[0]}: marked as a duplicate, but it has no key in common with any document. "
            f"{FAULT}"
        )
    keeper, likeness, guessed = nodes.copy(), np.ones(len(nodes)), np.zeros(len(nodes), np.bool_)
    keeper[at], likeness[at] = keepers, jaccard
    guessed[at] = np.isnan(jaccard)
    check_stars(
        nodes,
        keeper,
        likeness,
        candidate=candidate,
        place=place,
        threshold=step.threshold,
        old=old,
        guessed=guessed,
        named=lambda number: str(origins_of(run, np.array([number]))[0]),
    )


def _homes(near: Any) -> tuple[list[int], list[int]]:
    """Documents that are not the first of their words, and the first."""
    some = near.nodes != near.home
    return near.nodes[some].tolist(), near.home[some].tolist()


def _firsts(homes: Mapping[int, int], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each document the first of its words."""
    return np.array([homes.get(n, n) for n in documents.tolist()], np.int64)


def compare_again(
    run: Run,
    step: DedupeStepConfig,
    homes: Mapping[int, int],
    gone: NDArray[np.int64],
    keepers: NDArray[np.int64],
    jaccard: NDArray[np.float64],
) -> int:
    """Works out the likeness of some documents that went once more, from the sets; gives how many.

    Args:
        homes: document -> the first of its words, where that is another one.

    Raises:
        DataError: it is another one than was written.
    """
    some = np.argsort(mixed(gone.astype(np.uint64)), kind="stable")[:COMPARED_AGAIN]
    of_words = [_firsts(homes, which[some]) for which in (keepers, gone)]
    expected = np.ones(len(some))
    others = np.flatnonzero(of_words[0] != of_words[1])
    expected[others] = Likeness(run, step)(of_words[0][others], of_words[1][others])
    wrong = np.flatnonzero(expected != jaccard[some])
    if len(wrong):
        first = some[wrong[0]]
        raise DataError(
            f"{origins_of(run, gone[[first]])[0]}: marked as a duplicate with likeness {jaccard[first]:.6f}, but its "
            f"sets say {expected[wrong[0]]:.6f}. {FAULT}"
        )
    return len(some)


def guess_again(
    run: Run,
    step: DedupeStepConfig,
    homes: Mapping[int, int],
    gone: NDArray[np.int64],
    keepers: NDArray[np.int64],
) -> None:
    """Works out once more how like documents that went by estimate are, all of them, from their signatures.

    Args:
        homes: document -> the first of its words, where that is another one.

    Raises:
        DataError: one is less like its keeper than `threshold` by that.
    """
    found = estimated(run, step, _firsts(homes, keepers), _firsts(homes, gone))
    wrong = np.flatnonzero(~(found >= step.threshold))
    if len(wrong):
        first = wrong[0]
        raise DataError(
            f"{origins_of(run, gone[[first]])[0]}: marked as a duplicate by estimate, but the estimate is "
            f"{found[first]:.4f}, threshold {step.threshold}. {FAULT}"
        )
