"""Versions of input files, kept in `log/versions.jsonl`: a file that was touched since is hashed again before work.

Only other content stops a run, whatever the format or range; a copied corpus has other versions and the same content.
Cost: a stat a local file, nothing where the listing of inputs told them; a file whose version changed is read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gone import Gone
from dolma_pipeline.io.shards import Shard, read_shards
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical
from dolma_pipeline.run.columns import open_shard
from dolma_pipeline.run.manifests import has_lines, read_lines
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Locations, ShardAt
from dolma_pipeline.runner.inputs import Inputs
from dolma_pipeline.storage.inputs import InputEntry, is_url


def version_of(path: str, entry: InputEntry | None = None) -> str:
    """What changes when a file is written; empty where the place cannot tell. entry: what is known of a URL."""
    if is_url(path):
        return entry.version if entry is not None else ""
    found = os.stat(path)
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"


def changed_shards(run: Run, inputs: Inputs, index: Artifact) -> Iterator[ShardAt]:
    """The shards that have another content, or are another range, than when this run indexed them.

    Args:
        inputs: the list of now. index: the artifact; what is done of it counts, though it may be unfinished.
    """
    made = _indexed_before(run, index)
    if not made:
        return
    before = {shard.name: shard for shard in _listed_before(run)}
    known = _known(run)
    versions: dict[tuple[str, str], str] = {}
    locate = Locations(run)
    for shard in inputs.shards:
        if shard.name not in made or shard.name in inputs.gone:
            continue
        at = ShardAt(shard, locate(shard))
        key = (shard.source, shard.path)
        if key not in versions:
            versions[key] = version_of(at.location, inputs.entries.get(key))
        touched = bool(versions[key]) and known.get(key) != versions[key]
        if before.get(shard.name, shard) != shard or (touched and _sha256(run, at) != made[shard.name]):
            yield at


def check_versions(run: Run, inputs: Inputs, index: Artifact, *, redo: bool) -> frozenset[str]:
    """Stop where an input has other content than when it was indexed.

    Args:
        redo: do not stop.

    Returns:
        The names of such shards, and of those that are no longer there: what was made from them is made again. A file
        that goes may come back with another content, and nothing would tell of it then.

    Raises:
        DataError: names the first such file.
    """
    found: set[str] = set()
    for shard in changed_shards(run, inputs, index):
        if not redo:
            raise DataError(
                f"{shard.location}: the file was changed (its sha256 is another) since this run indexed it, and what "
                "was made from it would be of other documents. Put the old file back, or give it another name, or "
                "start in another output folder; or give --redo, and what was made from it is made again."
            )
        found.add(shard.name)
    gone = _indexed_before(run, index).keys() - {shard.name for shard in inputs.shards} if redo else set()
    return frozenset(found | gone)


def check_unchanged(run: Run, inputs: Inputs, index: Artifact) -> None:
    """Stop where an input was written anew while the run read it: what was made may be of both contents.

    A file that is gone by now was read before, or that was told; it is not looked for.

    Args:
        inputs: as listed before the work.

    Raises:
        DataError: names the first such file.
    """
    entries: dict[tuple[str, str], InputEntry] = {}
    there = set[tuple[str, str]]()
    settings = run.recipe.input_settings()
    for name, source in run.recipe.sources.items():
        gone = Gone(source.gone, source.documents, settings)
        try:
            emptied = gone.emptied(one.path for one in inputs.shards if one.source == name)
            found = paths.find(source.documents, settings=settings, gone=emptied)
        except UsageError:  # nothing of a pattern is there any more
            continue
        there.update((name, one.relative) for one in found)
        entries.update({(name, one.relative): one.entry for one in found if one.entry})
    shards = [shard for shard in inputs.shards if (shard.source, shard.path) in there]
    check_versions(run, Inputs(shards, entries, inputs.gone), index, redo=False)


def _indexed_before(run: Run, index: Artifact) -> dict[str, str]:
    """Shard -> sha256 of the content that the index saw, as far as it is done."""
    made: dict[str, str] = {}
    if has_lines(run.folder, layout.INDEX):
        made = {line["shard"]: line["inputs"][0]["sha256"] for line in read_lines(run.folder, layout.INDEX)}
    return made or {name: line["inputs"][0]["sha256"] for name, line in gathered(run, index).items()}


def _listed_before(run: Run) -> list[Shard]:
    if run.folder.stat(layout.SHARDS) is None:
        return []
    return read_shards(run.folder.read(layout.SHARDS), f"{run.folder.url}/{layout.SHARDS}")


def _sha256(run: Run, shard: ShardAt) -> str | None:
    reader = open_shard(run, shard, lambda failure: None)
    for _ in reader:
        pass
    return reader.sha256


def write_versions(run: Run, inputs: Inputs) -> None:
    """Note the versions of all input files, before they are read: a file that is written meanwhile has another then.

    Of files that are gone what was noted before stays."""
    locate = Locations(run)
    places = {(one.source, one.path): locate(one) for one in inputs.shards if one.name not in inputs.gone}
    gone = {(one.source, one.path) for one in inputs.shards if one.name in inputs.gone}
    noted = {key: line for key, line in _lines(run).items() if key in gone}
    noted |= {(source, path): _noted(source, path, place, inputs.entries.get((source, path)))
              for (source, path), place in places.items()}  # fmt: skip
    lines = [canonical(line) + b"\n" for _, line in sorted(noted.items())]
    run.folder.write(layout.VERSIONS, b"".join(lines))


def _noted(source: str, path: str, place: str, entry: InputEntry | None) -> dict[str, str]:
    """A line of versions.jsonl; of a repository's file the commit stands there, too, which tells what was read."""
    line = {"source": source, "path": path, "version": version_of(place, entry)}
    return line | ({"commit": entry.commit} if entry is not None and entry.commit else {})


def _known(run: Run) -> dict[tuple[str, str], str]:
    return {key: line["version"] for key, line in _lines(run).items()}


def _lines(run: Run) -> dict[tuple[str, str], dict[str, str]]:
    """Source and path -> the line that was noted of it."""
    if run.folder.stat(layout.VERSIONS) is None:
        return {}
    rows = [orjson.loads(line) for line in run.folder.read(layout.VERSIONS).splitlines()]
    return {(row["source"], row["path"]): row for row in rows}
