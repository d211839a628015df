"""What a run's folder holds that nobody needs any more.

Workers never delete: a copy of their task, on another machine, may still read. The launcher does, while no pipeline
runs. A run that was killed in its last moment leaves all of this to the next start.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dolma_pipeline.io import paths
from dolma_pipeline.runner.decide import Decision
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.elect import work_folder


def clear(context: RunContext, decisions: Sequence[Decision]) -> None:
    """Delete what attempts that died left half written, and the `leftovers`."""
    for path in paths.unfinished(context.path):  # first: what is left below is how the next start knows of a kill here
        path.unlink(missing_ok=True)
    for path in leftovers(context, decisions):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def leftovers(context: RunContext, decisions: Sequence[Decision]) -> list[Path]:
    """Folders that finished units no longer need, and lists of failures that an earlier try left."""
    dedupe = context.recipe.dedupe
    found = []
    for one in decisions:
        if one.state == "done":
            folder = context.path / one.unit.name
            found += [folder / name for name in (".done", ".work", ".sample")]
            if dedupe is not None and not dedupe.keep_work and one.unit.name.startswith("dedupe/"):
                found.append(folder / "edges")
    electing = [one for one in decisions if one.unit.stage == "dedupe"]
    if dedupe is not None and not dedupe.keep_work and all(one.state == "done" for one in electing):
        found.append(work_folder(context))
    return [*(folder for folder in found if folder.is_dir()), *_stale_failures(context, decisions)]


def _stale_failures(context: RunContext, decisions: Sequence[Decision]) -> Iterator[Path]:
    """Files below failed/ of shards in which nothing failed, as the records of the stage's finished units count."""
    stages = {one.unit.stage for one in decisions}
    for stage in sorted(stages):
        folder, mine = context.path / "failed" / stage, [one for one in decisions if one.unit.stage == stage]
        there = {path.relative_to(folder).as_posix().removesuffix(".jsonl"): path for path in folder.rglob("*.jsonl")}
        if not there or any(one.state != "done" for one in mine):
            continue
        for one in mine:
            for record in context.records(one.unit.name).read():
                if record.get("counts", {}).get("failed"):
                    there.pop(record["shard"], None)
        yield from (path for _, path in sorted(there.items()))
