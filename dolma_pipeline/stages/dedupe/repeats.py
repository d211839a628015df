"""How a step that marks repeats is put together: what it keeps of texts, and the phases that mark.

read_units         the first reading: units, or anchors     seen         documents that the step sees, in their order
repeated_anchors   which of these occur twice               mark_units   which units are repeats, by range of keys
runs               the second reading: units around them    write_spans  the columns, a file a shard
"""

from __future__ import annotations

from collections.abc import Mapping

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.planner import Step
from dolma_pipeline.stages.dedupe.kinds import known_kind
from dolma_pipeline.stages.dedupe.mark_units import MarkUnits
from dolma_pipeline.stages.dedupe.read_units import ReadUnits
from dolma_pipeline.stages.dedupe.repeated_anchors import RepeatedAnchors, WantedAnchors
from dolma_pipeline.stages.dedupe.runs import MakeRuns
from dolma_pipeline.stages.dedupe.seen import Placed, Places, Seen
from dolma_pipeline.stages.dedupe.span_kinds import AnchoredKind, units_artifact
from dolma_pipeline.stages.dedupe.write_spans import WriteSpans
from dolma_pipeline.stages.mixes import JUDGED


def keeping(step: DedupeStepConfig, keys: Artifact) -> list[Artifact]:
    """What a step keeps beside `dedupe/<step>`: the units of a second reading, where there is one."""
    if not isinstance(known_kind(step), AnchoredKind):
        return []
    return [Artifact(units_artifact(step), "dedupe", files={"units": "format 1"}, needs=(keys,), growing=True)]


def marking(
    step: DedupeStepConfig, known: Mapping[str, Artifact], left: Mapping[str, Artifact], *, prefers: bool
) -> list[Step]:
    """The consumer and the phases that make what is left of a step; prefers: the recipe has an order."""
    found: list[Step] = []
    if artifact := left.get(f"dedupe/{step.name}"):
        found.append(ReadUnits(artifact, step))
    if runs := left.get(f"dedupe/{step.name}/runs"):
        repeated = RepeatedAnchors((runs,), step)
        wanted = WantedAnchors((runs,), step, repeated)
        found += [repeated, wanted, MakeRuns((runs,), step, wanted)]
    if marks := left.get(f"attributes/{step.name}"):
        seen = Seen((marks,), step, known.get(JUDGED))
        placed = Placed((marks,), seen) if prefers else None
        marked = MarkUnits((marks,), step, Places(seen, placed))
        found += [seen, *([placed] if placed else []), marked, WriteSpans((marks,), step, marked)]
    return found
