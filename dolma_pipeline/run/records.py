"""Done records: one file a task, written after its outputs; what is done of unfinished work.

`.done/<phase>-<digest>/<task>.json`, beside `.covers.json`, which says for which artifacts of which digests they
are, and beside copies of many in one file (`compacted`), from which they are read where there are any. An artifact
that was finished and is opened again (new shards, lost files) leaves its records in `.done/earlier/…`. Nothing here
holds a time, host or process. The launcher removes what finished artifacts leave.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical, digest
from dolma_pipeline.run.compacted import COMPACTED, FEW, Compacted
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.folder import RunFolder

COVERS = ".covers.json"


def folder_of(run: Run, phase: Phase) -> str:
    """Where a phase's records are: those of other settings, or for other shards, lie elsewhere."""
    global _folder_of_last
    last = _folder_of_last  # the same for task after task, and its digest costs more than a small task
    if last is None or last[0] is not run or last[1] is not phase:
        folder = layout.done(phase.name, digest([phase.digest, run.shards_digest]))
        last = _folder_of_last = (run, phase, folder)
    return last[2]


_folder_of_last: tuple[Run, Phase, str] | None = None


def cover(run: Run, phase: Phase) -> None:
    """Note for which artifacts the phase's records are; the same whoever writes it."""
    covers = {artifact.name: artifact.settings(run.shards_digest) for artifact in phase.artifacts}
    run.folder.write(f"{folder_of(run, phase)}/{COVERS}", canonical(covers))


def write_record(run: Run, phase: Phase, task: Task, work: Work) -> bytes:
    """Leave the record of a task that is done; gives what was written."""
    record = {
        "task": task.key,
        "records": {name: list(found) for name, found in work.records.items()},
        "more": dict(work.more),
        "files": list(work.files),
        "documents": work.documents,
        "bytes": work.num_bytes,
    }
    content = canonical(record)
    run.folder.write(f"{folder_of(run, phase)}/{task.key}.json", content)
    return content


def find_record(run: Run, phase: Phase, task: Task) -> bytes | None:
    """A task's record as it was written; None if it is not done. One request, as a look would be."""
    try:
        return run.folder.read(f"{folder_of(run, phase)}/{task.key}.json")
    except FileNotFoundError:
        return None


def done_tasks(run: Run, phase: Phase) -> set[str]:
    """Keys of the tasks that have a record."""
    under = folder_of(run, phase)
    start = len(under) + 1
    return {name[start:].removesuffix(".json") for name in _loose(run.folder, under)}


def _loose(folder: RunFolder, under: str) -> Iterator[str]:
    """Names of the records of single tasks in a phase's folder."""
    compacted = f"{under}/{COMPACTED}/"
    for entry in folder.list(under):
        if not entry.name.endswith(COVERS) and not entry.name.startswith(compacted):
            yield entry.name


def read_records(run: Run, phase: Phase, tasks: Iterable[Task]) -> Iterator[Record]:
    """The records of these tasks, in their order; many at once where they were compacted.

    Args:
        tasks: all of the phase, as it gives them.

    Raises:
        RunError: one is missing.
    """
    tasks = iter(tasks)
    first = list(itertools.islice(tasks, FEW))
    for task in first:
        yield _read_record(run, phase, task)
    if len(first) < FEW:
        return
    compacted = Compacted(run.folder, folder_of(run, phase))
    for number, task in enumerate(tasks, FEW):
        yield compacted.record(number, task.key) or _read_record(run, phase, task)


def _read_record(run: Run, phase: Phase, task: Task) -> Record:
    content = find_record(run, phase, task)
    if content is None:
        raise RunError(
            f"{phase.name}: {task.key} is not done, but its phase was to be closed. "
            "The same command goes on from there."
        )
    record: Record = orjson.loads(content)
    return record


def stored_records(folder: RunFolder, under: str) -> Iterator[tuple[str, Record]]:
    """The records of single tasks in a phase's folder, each with its file's name, sorted by it.

    Args:
        under: the folder, as `folder_of` gives it.
    """
    compacted = Compacted(folder, under)
    for name in _loose(folder, under):
        key = name[len(under) + 1 :].removesuffix(".json")
        yield name, compacted.take(key) or orjson.loads(folder.read(name))


def forget_record(folder: RunFolder, name: str) -> None:
    """Have a task done again: its record goes, and the copies beside it before. For the launcher."""
    under = "/".join(name.split("/")[:2])
    folder.delete_tree(f"{under}/{COMPACTED}")
    folder.delete([name])


def earlier_settings(folder: RunFolder, artifact: Artifact) -> dict[str, Any] | None:
    """What an artifact that was finished and is opened again was made with; None if there is no such work."""
    name = layout.earlier(artifact.folder)
    if folder.stat(name) is None:
        return None
    with folder.stream(name) as file:
        settings: dict[str, Any] = orjson.loads(file.readline())
    return settings


def earlier_records(run: Run, artifact: Artifact) -> list[dict[str, Any]]:
    """Records of an artifact that was finished before it was opened again; none if it was not, or does not hold now."""
    if not artifact.holds(earlier_settings(run.folder, artifact), run.shards_digest):
        return []
    return [orjson.loads(line) for line in run.folder.read(layout.earlier(artifact.folder)).splitlines()[1:]]


def write_earlier(
    folder: RunFolder, artifact: Artifact, settings: Mapping[str, Any], records: Iterable[Mapping[str, Any]]
) -> None:
    """Keep the records of a finished artifact that is opened again. For the launcher.

    Args:
        settings: that it was made with, `digest` and `source_digests` among them; a manifest will do.
    """
    content = b"".join(canonical(one) + b"\n" for one in (settings, *records))
    folder.write(layout.earlier(artifact.folder), content)


def loose_records(run: Run, artifact: Artifact, *, but: Phase | None = None) -> Iterator[dict[str, Any]]:
    """Records of an artifact's shards from tasks that are done, of any phase that covers it and holds now.

    but: this phase's own records are left out, so that what it plans does not depend on how far it is.
    """
    folder, own = run.folder, folder_of(run, but) if but else ""
    for entry in list(folder.list(layout.DONE)):
        under, _, name = entry.name.rpartition("/")
        if name != COVERS or under == own:
            continue
        covers = orjson.loads(folder.read(entry.name))
        if not artifact.holds_begun(covers.get(artifact.name), run.shards_digest):
            continue
        for _, record in stored_records(folder, under):
            yield from record["records"].get(artifact.name, ())


def is_made_for(run: Run, artifact: Artifact, record: Mapping[str, Any] | None, wanted: str) -> bool:
    """Whether a record is of what is wanted of its shard now, and its files are there, as large as it says."""
    if record is None or record.get("wanted") != wanted:
        return False
    found = [(run.folder.stat(f"{artifact.output_root}/{one['path']}"), one["bytes"]) for one in record["outputs"]]
    return all(entry is not None and entry.size == size for entry, size in found)


def gathered(run: Run, artifact: Artifact, *, but: Phase | None = None) -> dict[str, dict[str, Any]]:
    """All that is done of an unfinished artifact: shard (or part) -> record.

    A record may name what it was made for (`wanted`); of two that differ in that the one that is not of earlier work
    counts: growing has made the shard again.

    Raises:
        DataError: two records of one shard that differ.
    """
    folder = run.folder
    found = {record["shard"]: record for record in earlier_records(run, artifact)}
    for record in loose_records(run, artifact, but=but):
        before = found.setdefault(record["shard"], record)
        if before.get("wanted") != record.get("wanted"):
            found[record["shard"]] = record
        elif before != record:
            raise DataError(
                f"{artifact.name}: two records of {record['shard']} differ: it was made from two contents of its file. "
                f"Delete {folder.url}/{layout.DONE} and {folder.url}/{artifact.folder}, and run again."
            )
    return found
