"""What the launcher clears and opens before a run, and removes after it. The only place where anything is deleted.

It may be killed at any point: what an artifact was made with stays there until it holds for what is in its folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import is_finished, read_lines
from dolma_pipeline.run.records import COVERS, gathered, write_earlier
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import listed
from dolma_pipeline.runner.decide import Decision
from dolma_pipeline.storage.folder import RunFolder

WORK = ("edges", "candidates", "elected", "sample", "measured", "lines", "parts")
"""Caches that serve one run only."""


def make_ready(run: Run, decisions: Sequence[Decision], artifacts: Sequence[Artifact]) -> None:
    """Clear what is made again, open what grows or is healed.

    Args:
        artifacts: all of the run, whose unfinished work is not to be lost.
    """
    run.folder.remove_attempts()
    _forget_failures(run)
    for one in decisions:
        if one.state in ("new", "changed", "again"):
            _clear(run, one.artifact, artifacts)
        elif one.state in ("grow", "heal"):
            _open_again(run, one)


def _clear(run: Run, artifact: Artifact, artifacts: Sequence[Artifact]) -> None:
    """Take away an artifact, and records of unfinished work on it; those of others beside it stay."""
    folder = run.folder
    folder.delete([layout.manifest(artifact.folder), layout.earlier(artifact.folder)])
    for entry in list(folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and artifact.name in (covers := orjson.loads(folder.read(entry.name))):
            for other in artifacts:
                if other.name != artifact.name and other.is_like(covers.get(other.name)):
                    write_earlier(folder, other, covers[other.name], gathered(run, other).values())
            folder.delete_tree(under)
    for name in artifact.owned:
        folder.delete([name])
        folder.delete_tree(name)


def _open_again(run: Run, one: Decision) -> None:
    """Turn finished work back into records, so that shards can be added to it, and take its manifest away."""
    artifact, folder = one.artifact, run.folder
    shards = {shard.name: shard.shard for shard in listed(run)}
    missing = set(one.missing)
    kept, gone = [], []
    for record in read_lines(folder, artifact.folder) if layout.lines(artifact.folder) not in missing else ():
        outputs = [f"{artifact.output_root}/{output['path']}" for output in record.get("outputs", ())]
        shard = shards.get(record["shard"])
        inputs = record.get("inputs") or [{}]
        changed = one.state == "grow" and (shard is None or inputs[0].get("path", shard.path) != shard.path)
        if changed or missing & {*outputs}:
            gone += [name for name in outputs if name not in missing]
        else:
            kept.append(record)
    assert one.before is not None
    write_earlier(folder, artifact, one.before, kept)
    # Whatever of this is done when the launcher is killed: until the manifest goes, all is opened again.
    folder.delete([*gone, layout.manifest(artifact.folder), layout.lines(artifact.folder)])


def _forget_failures(run: Run) -> None:
    """Failures of shards that are no longer in the run."""
    names = {shard.name for shard in listed(run)}
    for entry in list(run.folder.list(layout.FAILED)):
        bare = entry.name.removeprefix(f"{layout.FAILED}/").removesuffix(".jsonl")
        if not _endings(bare) & names:
            run.folder.delete([entry.name])


def _endings(name: str) -> set[str]:
    parts = name.split("/")
    return {"/".join(parts[i:]) for i in range(1, len(parts))}


def tidy(run: Run, artifacts: Iterable[Artifact], *, keep_work: bool) -> None:
    """Remove what finished work no longer needs: done records, work files, caches of other settings."""
    artifacts = list(artifacts)
    caches = {one.name: one for one in artifacts if one.cache}
    finished = {one.name for one in artifacts if is_finished(run.folder, one, run.shards_digest)}
    complete = {one.name for one in artifacts} - {*caches} <= finished
    if complete:
        finished |= {*caches}  # what they were for is there
    for entry in list(run.folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and set(orjson.loads(run.folder.read(entry.name))) <= finished:
            run.folder.delete_tree(under)
    run.folder.delete([layout.earlier(one.folder) for one in artifacts if one.name in finished])
    if complete:
        for kind in () if keep_work else WORK:
            run.folder.delete_tree(f"{layout.CACHE}/{kind}")
        for name, one in caches.items():
            _forget_other_settings(run.folder, name, one)


def _forget_other_settings(folder: RunFolder, name: str, current: Artifact) -> None:
    kind = f"{layout.CACHE}/{name}"
    for digest in {entry.name.removeprefix(f"{kind}/").split("/")[0] for entry in folder.list(kind)}:
        if f"{kind}/{digest}" != current.folder:
            folder.delete_tree(f"{kind}/{digest}")
    opened = layout.earlier(f"{kind}/").removesuffix(".jsonl")
    folder.delete([entry.name for entry in folder.list(layout.EARLIER) if entry.name.startswith(opened)])
