"""Folders in which verdicts of earlier documents were kept (`dedupe.keep: old`): what a look may say of them.

Their election is what their columns say. Another rule that is asked before duplicates makes it anew, over
all documents and in another order, and only a run does that.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.folder import Finished
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.columns import DEDUPE_TYPE
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.run.stage import STAGES, artifacts_of
from dolma_pipeline.stages.dedupe.earlier import stored_marks
from dolma_pipeline.stages.dedupe.election import Elected
from dolma_pipeline.stages.dedupe.likeness import rows_by_shard
from dolma_pipeline.stages.dedupe.origins import numbers_of
from dolma_pipeline.stages.dedupe.steps import all_steps, electing_steps
from dolma_pipeline.stages.mixes import JUDGED, MIX, hidden_stage


def kept_verdicts(finished: Finished) -> bool:
    """Whether any dedupe step has kept verdicts or marks of earlier documents."""
    folder = finished.run.folder
    names = [f"attributes/{step.name}" for step in all_steps(finished.run.recipe)]
    return any(EARLIER in (read_manifest(folder, name) or {}) for name in names)


def stored_election(finished: Finished, nodes: NDArray[np.int64]) -> dict[str, Elected]:
    """What the folder's columns say, by step; nodes: documents that any step may take away, by number, ascending."""
    run = finished.run
    found = {}
    for step in electing_steps(run.recipe):
        parts = [pa.array([], DEDUPE_TYPE)]
        parts += [stored_marks(run, step.name, shard, rows) for shard, rows in rows_by_shard(indexed(run), nodes)]
        marks = pa.concat_arrays(parts)
        keeper, group = (numbers_of(run, marks.field(name)) for name in ("cluster", "group"))
        values = {
            name: marks.field(name).to_numpy(zero_copy_only=False) for name in ("size", "rank", "keep", "jaccard")
        }
        found[step.name] = Elected(nodes, keeper=keeper, group_nodes=nodes, group_labels=group, **values)
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
    now = artifacts_of(STAGES[hidden_stage("judge", MIX)], changed, finished.artifacts)[JUDGED]
    if now.whole_digest != finished.artifacts[JUDGED].whole_digest:
        raise UsageError(
            "with other rules before duplicates a run judges all documents anew, while this folder has kept what it "
            "had decided of earlier ones (dedupe.keep: old), so that only a run can tell. Change the recipe and run: "
            "dolma-pipeline mix RECIPE --redo; no text is read again for that."
        )
