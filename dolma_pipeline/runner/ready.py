"""What the launcher clears and opens before a run, and removes after it. The only place where anything is deleted.

It may be killed at any point: what an artifact was made with stays there until it holds for what is in its folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from dolma_pipeline.io.shards import Shard
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import is_finished, read_lines
from dolma_pipeline.run.records import COVERS, gathered, write_earlier
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import listed
from dolma_pipeline.runner.decide import Decision

WORK = ("edges", "candidates", "elected", "sample", "measured", "lines", "parts")
"""Caches that serve one run only."""


def make_ready(run: Run, decisions: Sequence[Decision], artifacts: Sequence[Artifact]) -> None:
    """Clear what is made again, open what grows or is healed.

    Args:
        artifacts: all of the run, whose unfinished work is not to be lost.
    """
    _forget_failures(run)
    for one in decisions:
        if one.state in ("new", "changed", "again"):
            _clear(run, one.artifact, artifacts)
        elif one.state in ("grow", "heal"):
            _open_again(run, one)


def _clear(run: Run, artifact: Artifact, artifacts: Sequence[Artifact]) -> None:
    """Take away an artifact, and records of unfinished work on it; those of others beside it stay."""
    folder = run.folder
    folder.delete([layout.manifest(artifact.folder), layout.earlier(artifact.name, artifact.digest)])
    for entry in list(folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and artifact.name in (covers := orjson.loads(folder.read(entry.name))):
            for other in artifacts:
                if other.name != artifact.name and other.is_like(covers.get(other.name)):
                    write_earlier(folder, other, gathered(run, other).values())
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
        is_part = artifact.name == "tokens"
        inputs = record.get("inputs") or [{}]
        changed = not is_part and (shard is None or not _is_of(inputs[0], shard))
        if changed or missing & {*outputs}:
            gone += [name for name in outputs if name not in missing]
        else:
            kept.append(record)
    write_earlier(folder, artifact, kept)
    folder.delete([layout.manifest(artifact.folder), layout.lines(artifact.folder), *gone])


def _is_of(made_from: Mapping[str, Any], shard: Shard) -> bool:
    """Whether a record was made from this file; an artifact of columns alone does not say."""
    return not made_from or (made_from["path"], made_from["bytes"]) == (shard.path, shard.bytes)


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
    """Remove what finished work no longer needs: done records, work files, caches of other settings, attempts."""
    finished = {one.name for one in artifacts if is_finished(run.folder, one, run.shards_digest)}
    current = {one.folder for one in artifacts if one.cache}
    everything = {one.name for one in artifacts}
    for entry in list(run.folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and set(orjson.loads(run.folder.read(entry.name))) <= finished:
            run.folder.delete_tree(under)
    for one in artifacts:
        if one.name in finished:
            run.folder.delete([layout.earlier(one.name, one.digest)])
    if next(run.folder.list(layout.DONE), None) is None:
        run.folder.delete_tree(layout.DONE)  # the empty folder, where folders exist by themselves
    run.folder.remove_attempts()
    if everything <= finished:
        for kind in () if keep_work else WORK:
            run.folder.delete_tree(f"{layout.CACHE}/{kind}")
        for kind in {one.name for one in artifacts if one.cache}:
            for digest in {e.name.split("/")[2] for e in run.folder.list(f"{layout.CACHE}/{kind}")}:
                if f"{layout.CACHE}/{kind}/{digest}" not in current:
                    run.folder.delete_tree(f"{layout.CACHE}/{kind}/{digest}")
