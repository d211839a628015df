"""Versions of input files, kept in `log/versions.jsonl`: a file that was touched since is hashed again before work.

Only other content stops a run, whatever the format or range; a copied corpus has other versions and the same content.
Cost: a stat a file; a file whose version changed is read once more.
"""

from __future__ import annotations

import os

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import canonical
from dolma_pipeline.run.columns import open_shard
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, location
from dolma_pipeline.runner.inputs import Inputs


def version_of(path: str) -> str:
    """What changes when a local file is written; empty for what is not local."""
    if paths.is_url(path):
        return ""
    found = os.stat(path)
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"


def check_versions(run: Run, inputs: Inputs) -> None:
    """Stop where an input has other content than when it was indexed.

    Raises:
        DataError: names the first such file.
    """
    known = _known(run)
    made = {line["shard"]: line["inputs"][0] for line in read_lines(run.folder, "index")}
    if not made:
        return
    versions: dict[tuple[str, str], str] = {}
    for shard in inputs.shards:
        before = made.get(shard.name)
        if before is None or (before["path"], before["bytes"]) != (shard.path, shard.bytes):
            continue
        where = location(run, shard)
        key = (shard.source, shard.path)
        if key not in versions:
            versions[key] = version_of(where)
        if versions[key] and known.get(key) != versions[key]:
            _check_content(run, ShardAt(shard, where), before["sha256"])


def _check_content(run: Run, shard: ShardAt, sha256: str) -> None:
    reader = open_shard(run, shard, lambda failure: None)
    for _ in reader:
        pass
    if reader.sha256 != sha256:
        raise DataError(
            f"{shard.location}: the file was changed (its sha256 is another) since this run indexed it, and what was "
            "made from it would be of other documents. Put the old file back, or give it another name, or start in "
            "another output folder."
        )


def write_versions(run: Run, inputs: Inputs) -> None:
    """Note the versions of all input files."""
    places = {(shard.source, shard.path): location(run, shard) for shard in inputs.shards}
    lines = [
        canonical({"source": source, "path": path, "version": version_of(place)}) + b"\n"
        for (source, path), place in sorted(places.items())
    ]
    run.folder.write(layout.VERSIONS, b"".join(lines))


def _known(run: Run) -> dict[tuple[str, str], str]:
    if run.folder.stat(layout.VERSIONS) is None:
        return {}
    rows = [orjson.loads(line) for line in run.folder.read(layout.VERSIONS).splitlines()]
    return {(row["source"], row["path"]): row["version"] for row in rows}
