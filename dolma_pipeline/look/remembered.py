"""Folders in which verdicts of earlier documents were kept (`dedupe.keep: old`): what a look may say of them.

The election of such a folder is that of its columns. Another rule that is asked before duplicates makes it anew, over
all documents and in another order, and only a run does that.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.folder import Finished
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.run.stage import artifacts_of, stages_in_order
from dolma_pipeline.stages.dedupe.earlier import Earlier, earlier_columns, earlier_of
from dolma_pipeline.stages.dedupe.steps import all_steps, electing_steps
from dolma_pipeline.stages.mixes import JUDGED


def kept_verdicts(finished: Finished) -> bool:
    """Whether any dedupe step has kept verdicts or marks of earlier documents."""
    folder = finished.run.folder
    names = [f"attributes/{step.name}" for step in all_steps(finished.run.recipe)]
    return any(EARLIER in (read_manifest(folder, name) or {}) for name in names)


def verdicts_of(finished: Finished, nodes: NDArray[np.int64]) -> dict[str, Earlier]:
    """What the folder says of documents, by step; nodes: by number, ascending, all that any step may take away."""
    run = finished.run
    shards = list(indexed(run))
    names = frozenset(shard.name for shard in shards)
    found = {}
    for step in electing_steps(run.recipe):
        columns = earlier_columns(run, step.name, shards, nodes, names)
        found[step.name] = earlier_of(run, step.name, pa.table({"node": nodes, **columns}))
    return found


def refuse_anew(finished: Finished, changed: Process) -> None:
    """Stop where a changed recipe would have documents judged anew that were judged before.

    Args:
        changed: of the changed recipe.

    Raises:
        UsageError: a rule that is asked before duplicates is another, and verdicts were kept.
    """
    if not kept_verdicts(finished):
        return
    stage = next(one for one in stages_in_order() if JUDGED in artifacts_of(one, finished.process, finished.artifacts))
    now = artifacts_of(stage, changed, finished.artifacts)[JUDGED]
    if now.whole_digest != finished.artifacts[JUDGED].whole_digest:
        raise UsageError(
            "with other rules before duplicates a run judges all documents anew, while this folder has kept what it "
            "had decided of earlier ones (dedupe.keep: old), so that only a run can tell. Change the recipe and run: "
            "dolma-pipeline mix RECIPE --redo; no text is read again for that."
        )
