"""What the launcher clears and opens before a run, and removes after it. The only place where anything is deleted.

It may be killed at any point: what an artifact was made with stays there until it holds for what is in its folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from dolma_pipeline.io.shards import Shard
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import has_lines, is_finished, read_lines
from dolma_pipeline.run.records import (
    COVERS,
    forget_record,
    gathered,
    loose_records,
    stored_records,
    write_earlier,
)
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Locations
from dolma_pipeline.runner.check import sizes_of
from dolma_pipeline.runner.decide import Decision, of_earlier_recipes
from dolma_pipeline.storage.folder import RunFolder

WORK = ("edges", "candidates", "pairs", "elected", "repeats", "sample", "measured", "parts", "fetched")
"""Caches that serve one run only."""
BY_CONTENT = "ids"
"""The cache whose files lie by the content of the inputs; all others are of the files as they were."""


def make_ready(
    run: Run,
    decisions: Sequence[Decision],
    artifacts: Sequence[Artifact],
    shards: Mapping[str, Shard],
    *,
    other_content: bool = False,
) -> None:
    """Clear what is made again, open what grows or is healed.

    What is made from others goes before them, so that nothing stands on what is gone, and so that the index tells of
    changed files until nothing else does.

    Args:
        artifacts: all of the run, whose unfinished work is not to be lost. shards: the list of now, by name.
        other_content: files of some shards have another content than they had; decisions are those of all artifacts.
    """
    for one in decisions:
        if one.artifact.remembers and one.state == "resume":
            _forget_begun(run, one.artifact, shards)
    if other_content:
        _forget_content(run, artifacts)
    _forget_failures(run, shards)
    _forget_strays(run)
    _forget_lost(run, artifacts)
    for one in reversed(decisions):
        if one.state in ("new", "changed", "again"):
            _clear(run, one.artifact, artifacts, kept=_only_texts(run, one, shards))
        elif one.state in ("grow", "heal"):
            _open_again(run, one, artifacts, shards)
        elif one.artifact.grows:
            gone = [record for name, record in gathered(run, one.artifact).items() if name not in shards]
            _delete_outputs(run, one.artifact, gone)


def _forget_begun(run: Run, artifact: Artifact, shards: Mapping[str, Shard]) -> None:
    """Files of shards that are no longer in the run, of an artifact that remembers: what it had begun for another list
    of shards does not count, so no record will tell of them."""
    gone = [one for one in loose_records(run, replace(artifact, remembers=False)) if one["shard"] not in shards]
    _delete_outputs(run, artifact, gone)


def _forget_content(run: Run, artifacts: Sequence[Artifact]) -> None:
    """Work that no decision tells of and that stands on files as they were: unfinished work, caches of other settings,
    and what an earlier recipe made.

    The index notes the new content in this run; a later one would take what is left here for work of that. Of an
    earlier recipe's artifacts only the manifests go: they are not finished then, and their files can still be read.
    """
    folder, current = run.folder, {one.folder for one in artifacts}
    folder.delete([layout.manifest(place) for place in of_earlier_recipes(sizes_of(folder), artifacts)])
    for place in sorted({"/".join(entry.name.split("/")[:3]) for entry in folder.list(layout.CACHE)}):
        if place not in current and not place.startswith(f"{layout.CACHE}/{BY_CONTENT}/"):
            folder.delete_tree(place)
    opened = {layout.earlier(one.folder) for one in artifacts}
    for under in sorted({"/".join(entry.name.split("/")[:2]) for entry in folder.list(layout.DONE)}):
        if under == layout.EARLIER:
            folder.delete([entry.name for entry in folder.list(under) if entry.name not in opened])
        else:
            folder.delete_tree(under)


def _only_texts(run: Run, one: Decision, shards: Mapping[str, Shard]) -> set[str]:
    """Files of an artifact that is made again with the same settings which alone have the texts of shards whose input
    is gone. Notes these settings first, so that a run that is killed behind this knows what the files are of."""
    if one.state != "again" or not one.artifact.texts:
        return set()
    is_gone = Locations(run).is_gone
    gone = [name for name, shard in shards.items() if is_gone(shard)]
    if gone:
        assert one.before is not None
        write_earlier(run.folder, one.artifact, one.before, [])
    return {f"{place}/{name}.jsonl.zst" for name in gone for place in one.artifact.texts}


def _clear(run: Run, artifact: Artifact, artifacts: Sequence[Artifact], *, kept: Collection[str] = ()) -> None:
    """Take away an artifact, and records of unfinished work on it; those of others beside it stay.

    Args:
        kept: names of files that are left, and with them the note of what they were made with.
    """
    folder = run.folder
    folder.delete([layout.manifest(artifact.folder), *([] if kept else [layout.earlier(artifact.folder)])])
    _forget_records(run, artifact, artifacts)
    for name in artifact.owned:
        folder.delete([name])
        if kept:
            folder.delete([entry.name for entry in folder.list(name) if entry.name not in kept])
        else:
            folder.delete_tree(name)


def _forget_records(run: Run, artifact: Artifact, artifacts: Sequence[Artifact]) -> None:
    """Take away the done records of an artifact; those of others beside it stay."""
    folder = run.folder
    for entry in list(folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and artifact.name in (covers := orjson.loads(folder.read(entry.name))):
            for other in artifacts:
                if (
                    other.name != artifact.name
                    and not other.remembers  # what it has begun is not what it has decided
                    and other.holds(covers.get(other.name), run.shards_digest)
                ):
                    write_earlier(folder, other, other.settings(run.shards_digest), gathered(run, other).values())
            folder.delete_tree(under)


def _forget_opened(folder: RunFolder, kind: str) -> None:
    """Records of finished caches that were opened again, whichever their settings were."""
    opened = layout.earlier(f"{layout.CACHE}/{kind}/").removesuffix(".jsonl")
    folder.delete([entry.name for entry in folder.list(layout.EARLIER) if entry.name.startswith(opened)])


def _open_again(run: Run, one: Decision, artifacts: Sequence[Artifact], shards: Mapping[str, Shard]) -> None:
    """Turn finished work back into records, so that shards can be added to it, and take its manifest away."""
    artifact, folder = one.artifact, run.folder
    missing = set(one.missing)
    kept, gone = list[Mapping[str, Any]](), list[Mapping[str, Any]]()
    for record in read_lines(folder, artifact.folder) if layout.lines(artifact.folder) not in missing else ():
        changed = one.state == "grow" and (record["shard"] not in shards or record["shard"] in one.stale)
        changed = changed or (one.state == "heal" and artifact.remembers)  # all of it is decided once more, alike
        (gone if changed or missing & {*_outputs(artifact, record)} else kept).append(record)
    assert one.before is not None
    write_earlier(folder, artifact, one.before, kept)
    # Whatever of this is done when the launcher is killed: until the manifest goes, all is opened again.
    _forget_records(run, artifact, artifacts)  # a run that was killed before it cleared up left some
    _delete_outputs(run, artifact, gone)
    folder.delete([layout.manifest(artifact.folder), layout.lines(artifact.folder)])


def _outputs(artifact: Artifact, record: Mapping[str, Any]) -> list[str]:
    return [f"{artifact.output_root}/{output['path']}" for output in record.get("outputs", ())]


def _delete_outputs(run: Run, artifact: Artifact, records: Sequence[Mapping[str, Any]]) -> None:
    """Take away what was made of some shards."""
    for record in records:
        run.folder.delete([*_outputs(artifact, record), layout.failed(artifact.name, record["shard"])])


def _forget_failures(run: Run, shards: Mapping[str, Shard]) -> None:
    """Failures of shards that are no longer in the run."""
    for entry in list(run.folder.list(layout.FAILED)):
        bare = entry.name.removeprefix(f"{layout.FAILED}/").removesuffix(".jsonl")
        if not _endings(bare) & shards.keys():
            run.folder.delete([entry.name])


def _forget_strays(run: Run) -> None:
    """Done records of which nothing says what they are for: their folder was removed, or was being removed."""
    folders = {"/".join(entry.name.split("/")[:2]) for entry in run.folder.list(layout.DONE)}
    for under in sorted(folders - {layout.EARLIER}):
        if run.folder.stat(f"{under}/{COVERS}") is None:
            run.folder.delete_tree(under)


def _forget_lost(run: Run, artifacts: Sequence[Artifact]) -> None:
    """Records of unfinished work of which a file is gone, from the cache or elsewhere: their tasks are done again."""
    folder = run.folder
    done = [entry.name for entry in folder.list(layout.DONE) if not entry.name.endswith(f"/{COVERS}")]
    if not done:
        return
    there, known = sizes_of(folder), {one.name: one for one in artifacts}
    opened = {layout.earlier(one.folder): one for one in artifacts}
    for name in done:
        if artifact := opened.get(name):
            settings, *records = map(orjson.loads, folder.read(name).splitlines())
            whole = [record for record in records if there.keys() >= {*_outputs(artifact, record)}]
            if len(whole) < len(records):
                write_earlier(folder, artifact, settings, whole)
    lost = list[str]()
    for under in sorted({"/".join(name.split("/")[:2]) for name in done} - {layout.EARLIER}):
        for name, record in stored_records(folder, under):
            files = {*record["files"]}
            for made, parts in record["records"].items():
                if made in known:
                    files |= {output for part in parts for output in _outputs(known[made], part)}
            if not there.keys() >= files:
                lost.append(name)
    for name in lost:
        forget_record(folder, name)


def _endings(name: str) -> set[str]:
    parts = name.split("/")
    return {"/".join(parts[i:]) for i in range(1, len(parts))}


def tidy(run: Run, artifacts: Sequence[Artifact], *, keep_work: bool) -> None:
    """Remove what finished work no longer needs: done records, work files, caches of other settings, attempts."""
    finished = {one.name for one in artifacts if is_finished(run.folder, one, run.shards_digest)}
    _forget_strays(run)  # of workers of another run that was given up
    if {one.name for one in artifacts if not one.cache} <= finished:
        finished |= {one.name for one in artifacts if one.cache}  # what they were for is there
        _tidy_cache(run, [one for one in artifacts if one.cache], keep_work=keep_work)
    for one in artifacts:
        if one.name in finished:
            _tidy_earlier(run, one)
    run.folder.remove_attempts()
    for entry in list(run.folder.list(layout.DONE)):  # last: as long as there are some, the next run tidies again
        under, _, name = entry.name.rpartition("/")
        if name == COVERS and set(orjson.loads(run.folder.read(entry.name))) <= finished:
            run.folder.delete_tree(under)
    if next(run.folder.list(layout.DONE), None) is None:
        run.folder.delete_tree(layout.DONE)  # the empty folder, where folders exist by themselves


def _tidy_earlier(run: Run, artifact: Artifact) -> None:
    """Remove the records that a finished artifact had before it was opened again, and files that only those tell of: a
    shard of which nothing is wanted any more has none."""
    folder, name = run.folder, layout.earlier(artifact.folder)
    if folder.stat(name) is None:
        return
    records = [orjson.loads(line) for line in folder.read(name).splitlines()[1:]]
    there = {output for record in records for output in _outputs(artifact, record)}
    if there and has_lines(folder, artifact.folder):
        there.difference_update(
            output for record in read_lines(folder, artifact.folder) for output in _outputs(artifact, record)
        )
        folder.delete(sorted(there))
    folder.delete([name])


def _tidy_cache(run: Run, caches: Sequence[Artifact], *, keep_work: bool) -> None:
    current = {one.folder for one in caches}
    for kind in () if keep_work else WORK:
        run.folder.delete_tree(f"{layout.CACHE}/{kind}")
    for kind in sorted({one.name for one in caches}):
        place = f"{layout.CACHE}/{kind}"
        for digest in {entry.name.removeprefix(f"{place}/").split("/")[0] for entry in run.folder.list(place)}:
            if f"{place}/{digest}" not in current:
                run.folder.delete_tree(f"{place}/{digest}")
        _forget_opened(run.folder, kind)
