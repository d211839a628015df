"""Finished artifacts: `shards.jsonl`, a record a shard or part, and `manifest.json`, written last and once.

Neither holds a time, host, process or a path outside the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.io.manifest import add_counts, made_by, pretty, total_counts
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical, made_for
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.folder import RunFolder

__all__ = [
    "add_counts",
    "close",
    "has_lines",
    "is_finished",
    "output_record",
    "pretty",
    "read_lines",
    "read_manifest",
    "total_counts",
]

FORMAT = 2
"""Of manifests and of what they list."""


def output_record(artifact: Artifact, name: str, file: Committed, *, rows: int) -> dict[str, Any]:
    """What a record says of one output file: path below the artifact's root, rows, bytes, sha256.

    Args:
        name: of the file in the run's folder. file: as `RunFolder.committing` gave it, its block ended.
    """
    path = name.removeprefix(f"{artifact.output_root}/")
    return {"path": path, "rows": rows, "bytes": file.num_bytes, "sha256": file.sha256}


def read_manifest(folder: RunFolder, artifact_folder: str) -> dict[str, Any] | None:
    """The manifest in an artifact's folder; None if it is not finished.

    Raises:
        DataError: it is damaged.
    """
    name = layout.manifest(artifact_folder)
    try:
        content = folder.read(name)
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"{folder.url}/{name}: damaged ({error}). Delete {folder.url}/{artifact_folder} and run again; "
            "it will be made anew."
        ) from error
    return found


def is_finished(folder: RunFolder, artifact: Artifact, shards_digest: str) -> bool:
    """Whether an artifact of these very settings is finished for the run's shards."""
    found = read_manifest(folder, artifact.folder)
    return artifact.is_like(found) and made_for(found) == shards_digest


def has_lines(folder: RunFolder, artifact_folder: str) -> bool:
    """Whether the list of records that a manifest tells of is there, whole; if not, the artifact is to be healed."""
    manifest = read_manifest(folder, artifact_folder)
    name = layout.lines(artifact_folder)
    if manifest is None or "shards" not in manifest or folder.stat(name) is None:
        return False
    found: bool = _sha256(folder, name) == manifest["shards"]["sha256"]
    return found


def _sha256(folder: RunFolder, name: str) -> str:
    digest = hashlib.sha256()
    with folder.stream(name) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_lines(folder: RunFolder, artifact_folder: str) -> Iterator[dict[str, Any]]:
    """The records of a finished artifact, in order; none where it has no list of them. Streamed twice, never whole:
    no record is given before all are known to be those that the manifest tells of.

    Raises:
        DataError: the manifest tells of a list that is not there, or of another one.
    """
    manifest = read_manifest(folder, artifact_folder)
    if manifest is None or "shards" not in manifest:
        return
    name = layout.lines(artifact_folder)
    try:
        found = _sha256(folder, name)
    except FileNotFoundError:
        raise DataError(
            f"{folder.url}/{name}: gone, but its manifest tells of it. Run again; it is made anew."
        ) from None
    if found != manifest["shards"]["sha256"]:
        raise DataError(
            f"{folder.url}/{name}: not the list that its manifest tells of (its sha256 is another). "
            f"Delete {folder.url}/{artifact_folder} and run again; it will be made anew."
        )
    with folder.stream(name) as lines:
        for line in lines:
            yield orjson.loads(line)


def close(
    folder: RunFolder,
    artifact: Artifact,
    records: Iterable[Mapping[str, Any]],
    *,
    shards_digest: str,
    expected: Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write an artifact's `shards.jsonl` and its manifest. Repeated: an equal manifest is accepted.

    Args:
        records: one a shard or part, with `shard`, and maybe `inputs`, `outputs`, `counts`.
        shards_digest: of the run's list of shards.
        expected: names that must have a record, no more and no fewer; None: whatever there is.
        extra: other keys of the manifest, such as `plan`; `outputs`: files that are of no shard, as
            `output_record` tells of them.

    Raises:
        RunError: a record is missing, or another manifest is there. ValueError: a key of `extra` is taken.
    """
    by_name = {str(record["shard"]): record for record in records}
    if expected is not None:
        missing = [name for name in expected if name not in by_name]
        if missing:
            raise RunError(
                f"{artifact.name}: {len(missing)} of {len(expected)} are not done: {', '.join(missing[:3])}. "
                "The same command goes on from there."
            )
        by_name = {name: by_name[name] for name in expected}
    manifest = {
        "format": FORMAT,
        "made_by": made_by(),
        **artifact.settings(shards_digest),
        "counts": total_counts(by_name.values()),
    }
    if taken := sorted({*manifest, "shards"} & {*(extra or {})}):
        raise ValueError(f"{artifact.name}: {', '.join(taken)}: keys that every manifest has")
    manifest |= extra or {}
    lines = b"".join(canonical(by_name[name]) + b"\n" for name in sorted(by_name))
    if by_name:
        sha256 = hashlib.sha256(lines).hexdigest()
        manifest["shards"] = {"file": "shards.jsonl", "num_shards": len(by_name), "sha256": sha256}
    content = pretty(manifest)
    name = layout.manifest(artifact.folder)
    if folder.stat(name) is None:  # else the list belongs to what is finished, and stays as it is
        if by_name:
            folder.write(layout.lines(artifact.folder), lines)
        folder.create(name, content)
    if folder.read(name) != content:
        raise RunError(
            f"{folder.url}/{name}: another manifest is there already: two runs with different settings or inputs "
            "work in this folder. Run again when the other has ended."
        )
    return manifest
