"""What lies in an unfinished artifact's folder and is taken up, though no record of this program tells of it.

Without this, checkpoints that torchrun made, or whose records somebody deleted, would count as nothing and be cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.runner.decide import Decision


def taken_up(process: Process, decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions, where stages know more of unfinished work than records do (`Stage.begun`).

    What fits goes on (`resume`); what does not is `changed`, which nothing but `--redo` clears. Where something that it
    needs is not done yet, nobody can say: it is `changed` if that is made with other settings or inputs, else it stays,
    and the stage itself compares before it goes on.
    """
    moved, found = set[str](), list[Decision]()
    states = {one.artifact.name: one.state for one in decisions}
    for one in decisions:
        needs = {need.name for need in one.artifact.needs}
        other = sorted(needs & moved)
        if one.state in ("changed", "again", "grow") or (other and one.state != "done"):
            moved.add(one.artifact.name)
        done = all(states[name] == "done" for name in needs)
        found.append(_taken_up(process, one, needs_done=done, other=other))
    return found


def _taken_up(process: Process, one: Decision, *, needs_done: bool, other: Sequence[str]) -> Decision:
    """other: names of what it needs that will be something else than it was."""
    artifact, stage = one.artifact, STAGES.get(one.artifact.stage)
    if stage is None or artifact.cache or read_manifest(process.run.folder, artifact.folder) is not None:
        return one
    differing = stage.begun(process, artifact, needs_done=needs_done)
    if differing is None or (one.state != "new" and not needs_done):
        return one
    if other:
        differing = [f"{artifact.name}: it was made of other {', '.join(other)}"]
    return replace(one, state="changed" if differing else "resume", differing=differing)
